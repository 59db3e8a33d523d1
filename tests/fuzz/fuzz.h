/* tests/fuzz/fuzz.h - What the harnesses share: libFuzzer's entry, and taking an input apart.
 *
 * A harness CHECKs what must hold for every input. Pieces are copied to the heap at their exact
 * size, so that AddressSanitizer sees each byte read beyond their end. */
#ifndef PIPEGATE_FUZZ_H
#define PIPEGATE_FUZZ_H

#include "common/bytes.h"
#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What is left of an input. Behind its end there are zeros. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t input_byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline size_t input_number(struct input *in)
{
	size_t high = input_byte(in);

	return high << 8 | input_byte(in);
}

/* `most` bytes, or what is left. Borrowed. */
static inline const uint8_t *input_take(struct input *in, size_t most, size_t *bytes)
{
	const uint8_t *at = in->at;

	*bytes = in->left < most ? in->left : most;
	in->at += *bytes;
	in->left -= *bytes;
	return at;
}

/* The caller frees it. */
static inline void *copy_of(const void *data, size_t bytes)
{
	void *copy = xmalloc(bytes);

	if (bytes > 0)
		memcpy(copy, data, bytes);
	return copy;
}

/* The next line, without its end, as text that ends in NUL. The caller frees it. NULL: none is
 * left. */
static inline char *input_line(struct input *in)
{
	size_t bytes = 0, ignored;

	if (in->left == 0)
		return NULL;
	while (bytes < in->left && in->at[bytes] != '\n' && in->at[bytes] != '\0')
		bytes++;
	char *line = xcalloc(1, bytes + 1);
	memcpy(line, in->at, bytes);
	(void)input_take(in, bytes + 1, &ignored);
	return line;
}

#endif
