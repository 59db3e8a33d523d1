/* common/query.c - see query.h. */
#include "common/query.h"

#include "common/check.h"
#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t percent_decode(char *text, size_t bytes, bool plus)
{
	size_t used = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '%' && bytes - i > 2 && hex_digit(text[i + 1]) >= 0 &&
		    hex_digit(text[i + 2]) >= 0) {
			text[used++] = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
			i += 2;
		} else if (plus && text[i] == '+') {
			text[used++] = ' ';
		} else {
			text[used++] = text[i];
		}
	}
	return used;
}

/* The caller frees it. */
static char *decode(const char *text, size_t bytes, size_t *out_bytes)
{
	char *copy = xmalloc(bytes + 1);

	memcpy(copy, text, bytes);
	size_t decoded = percent_decode(copy, bytes, true);
	char *valid = utf8_repair(copy, decoded, out_bytes);
	free(copy);
	return valid;
}

static void one_pair(const char *piece, size_t bytes, query_pair_fn pair, void *ctx)
{
	const char *equals = memchr(piece, '=', bytes);
	size_t key_bytes = equals ? (size_t)(equals - piece) : bytes;
	size_t value_bytes = equals ? bytes - key_bytes - 1 : 0;
	char *key = decode(piece, key_bytes, &key_bytes);
	char *value = decode(equals ? equals + 1 : "", value_bytes, &value_bytes);

	pair(ctx, key, key_bytes, value, value_bytes);
	free(key);
	free(value);
}

void query_parse(const char *query, size_t bytes, query_pair_fn pair, void *ctx)
{
	const char *end = query + bytes;

	while (query < end) {
		const char *stop = memchr(query, '&', (size_t)(end - query));
		if (stop == NULL)
			stop = end;
		if (stop > query)
			one_pair(query, (size_t)(stop - query), pair, ctx);
		query = stop + 1;
	}
}
