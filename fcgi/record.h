/* fcgi/record.h - FastCGI records, as far as we look at them ourselves (FastCGI specification
 * 1.0, section 3.3). libfcgi reads requests; but it blocks, and writes 8 KiB at a time. So we
 * look whether a request is there as a whole before libfcgi reads it, and put the answer's
 * records together ourselves. Pure: no sockets. */
#ifndef PIPEGATE_RECORD_H
#define PIPEGATE_RECORD_H

#include "common/buf.h"

#include <stddef.h>
#include <stdint.h>

/* How much of a request there is. */
enum record_state {
	RECORD_PART,	   /* its parameters have not all come */
	RECORD_PARAMETERS, /* they have, its body has not */
	RECORD_WHOLE,	   /* all of it is there */
	RECORD_ODD, /* more than the plain sequence of one request's records: libfcgi's business */
};

/* Looks at what has come on a connection since the last request ended. Safe on any bytes. */
enum record_state record_state(const uint8_t *data, size_t bytes);

/* A piece of the answer, as few records of STDOUT as can be: Apache needs a poll() and two reads
 * for each. *open_bytes: how long the record at the end of `out` is, which may still grow; 0:
 * there is none, or some of it was sent. */
void record_put_output(struct buf *out, size_t *open_bytes, int request_id, const void *data,
		       size_t bytes);

/* The end of the request, and so of its answer: without the empty record that would end STDOUT
 * alone, as in PHP. */
void record_put_end(struct buf *out, int request_id);

#endif
