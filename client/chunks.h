/* client/chunks.h - Decoder of the chunked transfer coding (RFC 9112 7.1). Strict: what two parsers could read in two
 * ways is an error. Pure.
 *
 * Extensions and trailers are checked and dropped. */
#ifndef PIPEGATE_CHUNKS_H
#define PIPEGATE_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

enum chunks_state {
	CHUNKS_SIZE,  /* a digit of the size */
	CHUNKS_BLANK, /* behind the size, before an extension */
	CHUNKS_EXTENSION,
	CHUNKS_SIZE_END, /* LF of the size line */
	CHUNKS_DATA,
	CHUNKS_DATA_CR,
	CHUNKS_DATA_LF,
	CHUNKS_TRAILER, /* the first byte of a line */
	CHUNKS_TRAILER_NAME,
	CHUNKS_TRAILER_VALUE,
	CHUNKS_TRAILER_LF,
	CHUNKS_LAST_LF,
	CHUNKS_OVER,
	CHUNKS_BAD,
};

/* Zero-initialise. */
struct chunks {
	enum chunks_state state;
	uint64_t left_bytes; /* of this chunk */
	size_t line_bytes;   /* of this size line, or of all trailers */
};

/* Consumes input up to and including a piece of body, or to its end, or to the end of the body, or to an error
 * (c->state: OVER, BAD). Returns how many bytes. *piece_bytes: 0 when there is no piece. */
size_t chunks_read(struct chunks *c, const char *in, size_t bytes, const char **piece,
		   size_t *piece_bytes);

#endif
