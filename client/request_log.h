/* client/request_log.h - What the log says of one request to the local app: its changes of state
 * (-v), a row of a dump (SIGUSR1), and one line at its end (common/access_log.h). */
#ifndef PIPEGATE_REQUEST_LOG_H
#define PIPEGATE_REQUEST_LOG_H

#include "common/access_log.h"
#include "common/fail.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A correlation id: 32 hexadecimal digits, or what a server of protocol v1 names it, and a NUL. */
enum { REQUEST_LOG_CORR_BYTES = 65 };

/* Embedded in what is one request. Zero-initialise. */
struct request_log {
	const char *connection_id;	    /* NULL: it is unknown */
	struct access_log_request *request; /* NULL: there will be no line */
	char corr[REQUEST_LOG_CORR_BYTES];
	bool over;
	int status;
	int64_t started_ms, connected_ms, head_ms; /* 0: not yet */
	int64_t up_bytes, down_bytes;
};

/* "x-pipegate-correlation-id" of a request head; "-": there is none. */
void request_log_corr(const void *head, size_t head_bytes, char corr[REQUEST_LOG_CORR_BYTES]);

/* `id`: what protocol v1 names the request, for a head that names none; NULL: nothing. Borrows the
 * connection id. */
void request_log_begin(struct request_log *l, const char *connection_id, const void *head,
		       size_t head_bytes, const char *id);
void request_log_connected(struct request_log *l);
void request_log_head(struct request_log *l, const struct head *h); /* of the response */

/* Writes the line. The first call counts, and none before request_log_begin(). */
void request_log_end(struct request_log *l, enum fail f, bool maybe_delivered);

/* SIGUSR1. `stream` 0: protocol v1 has none. */
enum { REQUEST_LOG_DUMP_MAX = 200 };
void request_log_dump(const struct request_log *l, uint32_t stream, size_t held_bytes);

#endif
