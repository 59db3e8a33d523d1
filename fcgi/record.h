/* fcgi/record.h - FastCGI records (FastCGI specification 1.0, section 3.3), as far as we parse them
 * ourselves. libfcgi reads requests; but it blocks, and writes 8 KiB at a time. So we check that a
 * whole request has arrived before libfcgi reads it, and build the records of the response
 * ourselves. Pure: no sockets. */
#ifndef PIPEGATE_RECORD_H
#define PIPEGATE_RECORD_H

#include "common/buf.h"

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

/* Appends a piece of the response in as few STDOUT records as possible: Apache needs a poll() and
 * two reads for each. *open_bytes is the length of the record at the end of `out`, which may still
 * grow; 0: there is none, or part of it was sent. */
void record_put_output(struct buf *out, size_t *open_bytes, int request_id, const void *data,
		       size_t bytes);

/* Appends the end of the request, which ends the response too. No empty record ends STDOUT
 * separately; PHP does the same. */
void record_put_end(struct buf *out, int request_id);

#endif
