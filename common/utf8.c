/* common/utf8.c - see utf8.h. */
#include "common/utf8.h"

#include "common/check.h"

#include <string.h>

size_t utf8_from_latin1_to(char *out, const char *text, size_t bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x80) {
			out[used++] = (char)c;
		} else {
			out[used++] = (char)(0xc0 | c >> 6);
			out[used++] = (char)(0x80 | (c & 0x3f));
		}
	}
	return used;
}

char *utf8_from_latin1(const char *text, size_t bytes, size_t *out_bytes)
{
	char *out = xmalloc(utf8_latin1_max_bytes(bytes) + 1);

	*out_bytes = utf8_from_latin1_to(out, text, bytes);
	out[*out_bytes] = '\0';
	return out;
}

/* Returns the length of the well-formed sequence at `in`; 0: there is none. */
static size_t sequence_bytes(const unsigned char *in, size_t left)
{
	static const struct {
		unsigned char first, last, second_from, second_to;
		size_t bytes;
	} forms[] = {
		{0x00, 0x7f, 0, 0, 1},	     {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		if (in[0] < forms[i].first || in[0] > forms[i].last)
			continue;
		if (forms[i].bytes > left)
			return 0;
		for (size_t j = 1; j < forms[i].bytes; j++) {
			unsigned char from = j == 1 ? forms[i].second_from : 0x80;
			unsigned char to = j == 1 ? forms[i].second_to : 0xbf;
			if (in[j] < from || in[j] > to)
				return 0;
		}
		return forms[i].bytes;
	}
	return 0;
}

bool utf8_valid(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes;) {
		size_t good = sequence_bytes((const unsigned char *)text + i, bytes - i);
		if (good == 0)
			return false;
		i += good;
	}
	return true;
}

size_t utf8_repair_to(char *out, const char *text, size_t bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < bytes;) {
		size_t good = sequence_bytes((const unsigned char *)text + i, bytes - i);
		if (good == 0) {
			memcpy(out + used, "\xef\xbf\xbd", 3);
			used += 3;
			i++;
			continue;
		}
		memcpy(out + used, text + i, good);
		used += good;
		i += good;
	}
	return used;
}

char *utf8_repair(const char *text, size_t bytes, size_t *out_bytes)
{
	char *out = xmalloc(utf8_repaired_max_bytes(bytes) + 1);

	*out_bytes = utf8_repair_to(out, text, bytes);
	out[*out_bytes] = '\0';
	return out;
}
