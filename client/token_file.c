/* client/token_file.c - see token_file.h.
 *
 * The file may be a pipe, as in `--token-file <(command)`. The descriptor does not block, so that a
 * FIFO without a writer cannot stop the program. */
#include "client/token_file.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(struct token_file *f, const char *why)
{
	snprintf(f->why, sizeof f->why, "%s", why);
	return false;
}

static bool wait_for_input(struct token_file *f, int fd, int64_t deadline_ms)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	int ready;

	do {
		int64_t left_ms = deadline_ms - clock_now_ms();
		ready = poll(&waiting, 1, left_ms > 0 ? (int)left_ms : 0);
	} while (ready < 0 && errno == EINTR);
	return ready > 0 || fail(f, ready < 0 ? strerror(errno) : "did not end in time");
}

/* Without a writer, a FIFO looks as if it had ended, so the first input is waited for. */
static bool read_to_end(struct token_file *f, int fd, int64_t deadline_ms)
{
	size_t used = 0;
	ssize_t got = -1;

	errno = EAGAIN;
	while (got != 0) {
		if (got < 0 && errno != EINTR) {
			if (errno != EAGAIN)
				return fail(f, strerror(errno));
			if (!wait_for_input(f, fd, deadline_ms))
				return false;
		}
		got = read(fd, f->text + used, TOKEN_FILE_MAX_BYTES + 1 - used);
		used += got > 0 ? (size_t)got : 0;
		if (used > TOKEN_FILE_MAX_BYTES)
			return fail(f, "is too long");
	}
	return memchr(f->text, '\0', used) == NULL || fail(f, "contains a NUL byte");
}

bool token_file_read(struct token_file *f, const char *path, int wait_ms)
{
	int64_t deadline_ms = clock_now_ms() + wait_ms;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat info;

	if (fd < 0)
		return fail(f, strerror(errno));
	f->text = xcalloc(1, TOKEN_FILE_MAX_BYTES + 2);
	f->is_public = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & S_IROTH);
	bool good = read_to_end(f, fd, deadline_ms);
	close(fd);
	if (!good) {
		free(f->text);
		f->text = NULL;
	}
	return good;
}

void token_file_fini(struct token_file *f)
{
	free(f->text);
	*f = (struct token_file){0};
}
