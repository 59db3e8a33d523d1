/* client/base.c - see base.h.
 *
 * The path is decoded several times, as a chain of proxy, framework and app may do it, and checked
 * after each time. */
#include "client/base.h"

#include "common/http.h"

#include <stdlib.h>
#include <string.h>

enum { DECODINGS_MAX = 4 }; /* no chain of programs decodes more often */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

/* Decodes in place. Returns the new length. */
static size_t decode_percent(char *path, size_t bytes)
{
	size_t to = 0;

	for (size_t i = 0; i < bytes; i++) {
		char c = path[i];
		if (c == '%' && bytes - i > 2 && hex_digit(path[i + 1]) >= 0 &&
		    hex_digit(path[i + 2]) >= 0) {
			c = (char)(hex_digit(path[i + 1]) * 16 + hex_digit(path[i + 2]));
			i += 2;
		}
		path[to++] = c;
	}
	return to;
}

/* Decodes ASCII characters written in two bytes (C0, C1): invalid UTF-8 that lax decoders accept.
 * Decodes in place and returns the new length. */
static size_t decode_overlong(char *path, size_t bytes)
{
	size_t to = 0;

	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)path[i];
		unsigned char next = i + 1 < bytes ? (unsigned char)path[i + 1] : 0;
		if ((c == 0xc0 || c == 0xc1) && (next & 0xc0) == 0x80) {
			c = (unsigned char)((c & 1) << 6 | (next & 0x3f));
			i++;
		}
		path[to++] = (char)c;
	}
	return to;
}

static bool ends_segment(char c)
{
	return c == '/' || c == '\\' || c == '\0';
}

static bool ends_name(char c)
{
	return ends_segment(c) || c == ';' || c == '?' || c == '#' || c == ' ';
}

/* Returns true if a segment is "..", up to what apps cut off. */
static bool has_dot_dot_segment(const char *path, size_t bytes)
{
	size_t at = 0;

	while (at < bytes) {
		size_t name = at, end;
		while (name < bytes && !ends_name(path[name]))
			name++;
		for (end = name; end < bytes && !ends_segment(path[end]);)
			end++;
		if (name - at == 2 && path[at] == '.' && path[at + 1] == '.')
			return true;
		at = end + 1;
	}
	return false;
}

static char *copy(const char *text, size_t bytes)
{
	char *result = xmalloc(bytes + 1);

	memcpy(result, text, bytes);
	return result;
}

bool base_holds(const char *base, const char *target, size_t bytes)
{
	const char *query = memchr(target, '?', bytes);
	size_t length = query != NULL ? (size_t)(query - target) : bytes, before = 0;

	if (*base == '\0')
		return http_path_is_plain(target, length);
	if (has_dot_dot_segment(target, length))
		return false;
	char *path = copy(target, length);
	bool good = true;
	for (int round = 0; good && round < DECODINGS_MAX && before != length; round++) {
		before = length;
		length = decode_overlong(path, decode_percent(path, length));
		good = !has_dot_dot_segment(path, length);
	}
	free(path);
	return good;
}
