/* common/buf.h - A byte FIFO. Bounded by its user: it grows with what is appended. */
#ifndef PIPEGATE_BUF_H
#define PIPEGATE_BUF_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise; end with buf_fini(). */
struct buf {
	uint8_t *data;
	size_t start, end, capacity;
};

static inline size_t buf_bytes(const struct buf *b)
{
	return b->end - b->start;
}

static inline const uint8_t *buf_first(const struct buf *b)
{
	return b->start > 0 ? b->data + b->start : b->data; /* NULL + 0 would be undefined in C */
}

/* For sizes that a peer chooses. NULL or false: no memory, and the buffer is as it was. */
uint8_t *buf_try_extend(struct buf *b, size_t bytes) MUST_CHECK;
bool buf_try_append(struct buf *b, const void *data, size_t bytes) MUST_CHECK;

/* For sizes that we choose: without memory the process ends. */
void buf_append(struct buf *b, const void *data, size_t bytes);
uint8_t *buf_extend(struct buf *b, size_t bytes); /* room at the end, counted as appended */
void buf_consume(struct buf *b,
		 size_t bytes); /* at most buf_bytes(); an empty one gives memory back */
void buf_shrink(struct buf *b, size_t bytes); /* takes the last `bytes` off again */
void buf_fit(struct buf *b); /* returns the memory that holds no byte, where that is much */
void buf_fini(struct buf *b);

#endif
