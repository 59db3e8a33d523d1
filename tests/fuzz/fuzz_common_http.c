/* The rules of HTTP: paths, tokens, values, lists, lengths. Paths are held against a slow second opinion. */
#include "common/http.h"

#include "common/query.h"
#include "tests/fuzz/fuzz.h"

static bool is_separator(char c)
{
	return c == '/' || c == '\\' || c == '\0';
}

/* Decodes the whole path first, then looks at its segments. */
static bool is_plain(const uint8_t *data, size_t bytes)
{
	char *path = copy_of(data, bytes);
	size_t length = percent_decode(path, bytes, false);
	bool plain = true;

	for (size_t i = 0; i < bytes; i++) {
		if (data[i] < 0x20 || data[i] == 0x7f)
			plain = false;
	}
	for (size_t i = 0; i < length; i++) {
		bool begins = i == 0 || is_separator(path[i - 1]);
		if (begins && length - i >= 2 && path[i] == '.' && path[i + 1] == '.' &&
		    (length - i == 2 || is_separator(path[i + 2])))
			plain = false;
	}
	free(path);
	return plain;
}

/* The input as the value of a list, each of its bytes up to the first comma as a name. */
static void check_list(const char *text, size_t bytes)
{
	const char *comma = memchr(text, ',', bytes);
	struct head_field list = {"connection", 10, text, bytes};
	struct head_field name = {text, comma ? (size_t)(comma - text) : bytes, "", 0};

	if (http_token_valid(name.name, name.name_bytes))
		CHECK(http_list_names(&list, &name));
	if (http_list_names(&list, &name))
		CHECK(memmem(text, bytes, name.name, name.name_bytes) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *text = (const char *)data;
	long long length;

	CHECK(http_path_is_plain(text, bytes) == is_plain(data, bytes));
	if (http_token_valid(text, bytes))
		CHECK(bytes > 0 && http_value_valid(text, bytes) &&
		      memchr(text, ':', bytes) == NULL && memchr(text, ' ', bytes) == NULL &&
		      memchr(text, '"', bytes) == NULL);
	if (http_value_valid(text, bytes))
		CHECK(memchr(text, '\r', bytes) == NULL && memchr(text, '\n', bytes) == NULL &&
		      memchr(text, '\0', bytes) == NULL);
	if (http_length_parse(text, bytes, &length)) {
		char *digits = xcalloc(1, bytes + 1);
		memcpy(digits, text, bytes);
		CHECK(length >= 0 && strtoll(digits, NULL, 10) == length);
		free(digits);
	}
	check_list(text, bytes);
	if (bytes >= 2)
		CHECK(http_reason(get_be16(data))[0] != '\0');
	return 0;
}
