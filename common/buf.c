/* common/buf.c - see buf.h. */
#include "common/buf.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

enum { KEEP_BYTES = 4096 }; /* an empty buffer larger than this gives its memory back */

static size_t grown_capacity(const struct buf *b, size_t bytes)
{
	size_t capacity = b->capacity ? b->capacity : 1024;

	while (capacity - b->end < bytes) {
		if (capacity > SIZE_MAX / 2)
			return 0;
		capacity *= 2;
	}
	return capacity;
}

uint8_t *buf_try_extend(struct buf *b, size_t bytes)
{
	/* Only over a gap as large as what is moved: else a queue that stays long would be moved
	 * for each piece. */
	if (b->capacity - b->end < bytes && b->start > 0 && b->start >= b->end - b->start) {
		memmove(b->data, b->data + b->start, b->end - b->start);
		b->end -= b->start;
		b->start = 0;
	}
	if (b->capacity - b->end < bytes) {
		size_t capacity = grown_capacity(b, bytes);
		uint8_t *data = capacity > 0 ? realloc(b->data, capacity) : NULL;
		if (data == NULL)
			return NULL;
		b->data = data;
		b->capacity = capacity;
	}
	uint8_t *at = b->data + b->end;
	b->end += bytes;
	return at;
}

bool buf_try_append(struct buf *b, const void *data, size_t bytes)
{
	uint8_t *at = bytes > 0 ? buf_try_extend(b, bytes) : NULL;

	if (at != NULL)
		memcpy(at, data, bytes);
	return at != NULL || bytes == 0;
}

uint8_t *buf_extend(struct buf *b, size_t bytes)
{
	uint8_t *at = buf_try_extend(b, bytes);

	if (at == NULL && bytes > 0)
		out_of_memory();
	return at;
}

void buf_append(struct buf *b, const void *data, size_t bytes)
{
	if (bytes)
		memcpy(buf_extend(b, bytes), data, bytes);
}

void buf_shrink(struct buf *b, size_t bytes)
{
	CHECK(bytes <= buf_bytes(b));
	b->end -= bytes;
	buf_consume(b, 0); /* gives memory back if that was all */
}

void buf_consume(struct buf *b, size_t bytes)
{
	CHECK(bytes <= buf_bytes(b));
	b->start += bytes;
	if (b->start < b->end)
		return;
	b->start = b->end = 0;
	if (b->capacity > KEEP_BYTES)
		buf_fini(b);
}

void buf_fit(struct buf *b)
{
	size_t bytes = buf_bytes(b);

	buf_consume(b, 0);
	if (b->capacity - bytes < KEEP_BYTES)
		return;
	memmove(b->data, b->data + b->start, bytes);
	b->start = 0;
	b->end = bytes;
	uint8_t *data = realloc(b->data, bytes);
	if (data != NULL) {
		b->data = data;
		b->capacity = bytes;
	}
}

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}
