/* tests/fuzz/lines.h - Heads for harnesses: made of readable lines, and the lines that became of
 * them. */
#ifndef PIPEGATE_FUZZ_LINES_H
#define PIPEGATE_FUZZ_LINES_H

#include "common/head.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

/* "name=value" lines, all that are left, as a head. A line without '=' is a field with an empty
 * value. */
static inline void head_of_lines(struct head *h, struct input *in)
{
	char *line;

	while ((line = input_line(in)) != NULL) {
		size_t name_bytes = strcspn(line, "=");
		const char *value = line + name_bytes + (line[name_bytes] == '=');
		if (name_bytes > 0 && name_bytes <= UINT16_MAX)
			head_add_bytes(h, line, name_bytes, value, strlen(value));
		free(line);
	}
}

/* Takes one "name: value" line off a head that is written for a web server, CHECKs that nothing
 * in it can end the line early, and says what it is. False: the head is over. */
static inline bool next_header(struct input *in, struct head_field *f)
{
	size_t ignored;

	if (in->at == NULL || in->left == 0)
		return false;
	const char *line = (const char *)in->at;
	const char *end = memmem(line, in->left, "\r\n", 2);
	CHECK(end != NULL);
	const char *colon = memchr(line, ':', (size_t)(end - line));
	CHECK(colon != NULL && end - colon >= 2 && colon[1] == ' ');
	*f = (struct head_field){line, (size_t)(colon - line), colon + 2,
				 (size_t)(end - colon - 2)};
	CHECK(http_token_valid(f->name, f->name_bytes) &&
	      http_value_valid(f->value, f->value_bytes));
	(void)input_take(in, (size_t)(end + 2 - line), &ignored);
	return true;
}

#endif
