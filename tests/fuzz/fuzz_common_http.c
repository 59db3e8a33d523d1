/* The rules of HTTP: paths, tokens, values, lists, lengths. Paths are held against a slow second
 * opinion. */
#include "common/http.h"
#include "common/http_reason.h"

#include "common/query.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>

static bool is_separator(char c)
{
	return c == '/' || c == '\\' || c == '\0';
}

/* Decodes the whole path first, then looks at its segments. */
static bool is_plain(const uint8_t *data, size_t bytes)
{
	char *path = copy_of(data, bytes);
	size_t length = query_percent_decode(path, bytes, false);
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

/* The input as the value of Connection: its names, one by one, against those that were read. */
static void check_connection(const char *text, size_t bytes)
{
	struct http_connection c = {0};
	struct head_field rest = {"connection", 10, text, bytes}, name;
	bool good = http_connection_add(&c, text, bytes);

	CHECK(c.count <= HTTP_CONNECTION_NAMES_MAX && (good || c.count > 0));
	while (good && http_list_next(&rest, &name)) {
		bool all = http_name_is(&name, "host") || http_name_is(&name, "set-cookie") ||
			   http_name_begins(&name, "content-");
		CHECK(http_connection_names(&c, &name) == (name.name_bytes > 0 && !all));
	}
	for (size_t i = 0; i < c.count; i++)
		CHECK(memmem(text, bytes, c.names[i].name, c.names[i].name_bytes) != NULL);
}

/* A host names nothing but a host: it ends no line, no origin and no quoted string. */
static void check_host(const char *text, size_t bytes)
{
	if (!http_host_valid(text, bytes))
		return;
	CHECK(bytes > 0 && http_value_valid(text, bytes));
	for (const char *c = "/?#@\\\"<> "; *c != '\0'; c++)
		CHECK(memchr(text, *c, bytes) == NULL);
}

static void check_names(const char *text, size_t bytes)
{
	char *other = xmalloc(bytes + 1);
	struct head_field f = {text, bytes, "", 0}, folded = {other, bytes, "", 0};

	for (size_t i = 0; i < bytes; i++) /* the same name, spelled otherwise */
		other[i] = text[i] == '_' ? '-' : (char)toupper((unsigned char)text[i]);
	CHECK(http_is_forwarding(&f) == http_is_forwarding(&folded));
	CHECK(http_hop_by_hop(&f) == http_hop_by_hop(&folded));
	free(other);
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
	if (http_content_length(text, bytes, &length))
		CHECK(length >= 0 && text[0] != ',' && text[bytes - 1] != ',');
	check_connection(text, bytes);
	check_host(text, bytes);
	check_names(text, bytes);
	if (bytes >= 2)
		CHECK(http_reason(get_be16(data))[0] != '\0');
	return 0;
}
