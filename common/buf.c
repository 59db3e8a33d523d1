/* common/buf.c - see buf.h. */
#include "common/buf.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

enum { KEEP_BYTES = 4096 }; /* an empty buffer larger than this gives its memory back */

uint8_t *buf_extend(struct buf *b, size_t bytes)
{
	/* Only over a gap as large as what is moved: else a queue that stays long would be moved for each piece. */
	if (b->capacity - b->end < bytes && b->start > 0 && b->start >= b->end - b->start) {
		memmove(b->data, b->data + b->start, b->end - b->start);
		b->end -= b->start;
		b->start = 0;
	}
	if (b->capacity - b->end < bytes) {
		size_t capacity = b->capacity ? b->capacity : 1024;
		while (capacity - b->end < bytes)
			capacity *= 2;
		b->data = xrealloc(b->data, capacity);
		b->capacity = capacity;
	}
	uint8_t *at = b->data + b->end;
	b->end += bytes;
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

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}
