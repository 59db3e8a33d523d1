/* fcgi/record.h - FastCGI records (FastCGI specification 1.0, section 3.3), as far as we parse them
 * ourselves. libfcgi reads the parameters of a request and answers what is malformed there. But it
 * blocks, reads and writes 8 KiB at a time, and cannot use a connection again on which the rest of
 * a body is still to come. So we check that a whole request has arrived before libfcgi reads it,
 * read bodies, discard what follows a request, and build the records of the response ourselves.
 * Pure: no sockets. */
#ifndef PIPEGATE_RECORD_H
#define PIPEGATE_RECORD_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much of a request has arrived. */
enum record_state {
	RECORD_INCOMPLETE, /* its parameters are incomplete */
	RECORD_PARAMETERS, /* its parameters are complete, its body is not */
	RECORD_WHOLE,	   /* the whole request */
	RECORD_UNEXPECTED, /* not the plain sequence of one request's records: left to libfcgi */
};

/* Classifies the bytes received since the last request ended. Safe on any bytes. */
enum record_state record_state(const uint8_t *data, size_t bytes);

enum { RECORD_HEADER_BYTES = 8 };

/* Where in the records of a request body its reader is. Zero-initialise, and set the id. */
struct record_body {
	uint16_t request_id;
	/* The number of bytes of the body that come next. The caller subtracts what it reads. */
	size_t content_bytes;
	/* The number of bytes after them that mean nothing: padding, or a record of another
	 * request. */
	size_t ignored_bytes;
	bool ended;  /* the last record of the body was consumed */
	bool broken; /* aborted, or a record that may not come here */
};

/* Consumes bytes up to the next byte of the body, or to its end. Returns their number. Consumes
 * headers as a whole only. Records of other requests are ignored, as the specification says; a
 * request that begins within another one breaks the body. */
size_t record_body_next(struct record_body *b, const uint8_t *data, size_t bytes);

/* Consumes what may still arrive of a request that has been answered, up to the next BEGIN_REQUEST.
 * Returns the number of bytes. Stops also at what is left to libfcgi: management records, and what
 * is no record. A header that has not arrived as a whole is not consumed. */
size_t record_body_skip(struct record_body *b, const uint8_t *data, size_t bytes);

/* Appends a piece of the response in as few STDOUT records as possible: Apache needs a poll() and
 * two reads for each. *open_bytes is the length of the record at the end of `out`, which may still
 * grow; 0: there is none, or part of it was sent. */
void record_put_output(struct buf *out, size_t *open_bytes, int request_id, const void *data,
		       size_t bytes);

/* Appends the end of the request, which ends the response too. No empty record ends STDOUT
 * separately; PHP does the same. */
void record_put_end(struct buf *out, int request_id);

#endif
