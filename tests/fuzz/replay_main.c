/* tests/fuzz/replay_main.c - Gives each file of a corpus to a harness once, without libFuzzer:
 * so that every compiler can run what fuzzing found before. Arguments are files and directories. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>

static size_t replayed;

static bool replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t bytes = 0, got;

	if (file == NULL) {
		perror(path);
		return false;
	}
	do {
		data = xrealloc(data, bytes + 65536);
		got = fread(data + bytes, 1, 65536, file);
		bytes += got;
	} while (got > 0);
	fclose(file);
	uint8_t *exact = copy_of(data, bytes);
	free(data);
	fprintf(stderr, "replay %s\n", path); /* the last line before a crash names its file */
	LLVMFuzzerTestOneInput(exact, bytes);
	free(exact);
	replayed++;
	return true;
}

static bool replay(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	bool good = true;

	if (directory == NULL)
		return replay_file(path);
	while ((entry = readdir(directory)) != NULL) {
		char inside[1024];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
		good = replay_file(inside) && good;
	}
	closedir(directory);
	return good;
}

int main(int count, char **paths)
{
	bool good = true;

	for (int i = 1; i < count; i++)
		good = replay(paths[i]) && good;
	printf("%s: %zu inputs\n", paths[0], replayed);
	return good && replayed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
