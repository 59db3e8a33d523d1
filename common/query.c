/* common/query.c - see query.h. */
#include "common/query.h"

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

size_t query_percent_decode(char *text, size_t bytes, bool plus)
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

/* Decodes into `room`, using `scratch` for the bytes before the UTF-8 repair. Returns the
 * length. */
static size_t decode(const char *text, size_t bytes, char *scratch, char *room)
{
	memcpy(scratch, text, bytes);
	return utf8_repair_to(room, scratch, query_percent_decode(scratch, bytes, true));
}

bool query_parse(const char *query, size_t bytes, query_pair_fn pair, void *ctx)
{
	const char *end = query + bytes;
	/* Allocated once for all pairs: a query may have one for every two bytes. */
	char *room = malloc(bytes + utf8_repaired_max_bytes(bytes) + 1);

	if (room == NULL)
		return false;
	char *out = room + bytes;
	while (query < end) {
		const char *stop = memchr(query, '&', (size_t)(end - query));
		if (stop == NULL)
			stop = end;
		if (stop > query) {
			const char *equals = memchr(query, '=', (size_t)(stop - query));
			const char *key_end = equals ? equals : stop;
			size_t key_bytes = decode(query, (size_t)(key_end - query), room, out);
			char *value = out + key_bytes;
			size_t value_bytes =
				equals ? decode(equals + 1, (size_t)(stop - equals - 1), room,
						value)
				       : 0;
			pair(ctx, out, key_bytes, value, value_bytes);
		}
		query = stop + 1;
	}
	free(room);
	return true;
}
