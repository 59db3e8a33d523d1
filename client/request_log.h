/* client/request_log.h - The log of one request to the local app: its changes of state (-v), its
 * row in a dump (SIGUSR1), and one line at its end (common/access_log.h). */
#ifndef PIPEGATE_REQUEST_LOG_H
#define PIPEGATE_REQUEST_LOG_H

#include "common/access_log.h"
#include "common/fail.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for a correlation id: 32 hexadecimal digits, or any id of a server of protocol v1, and a
 * NUL. */
enum { REQUEST_LOG_CORR_BYTES = 65 };

/* Embedded in the object of a request. Zero-initialise. */
struct request_log {
	const char *connection_id;	    /* NULL: unknown */
	struct access_log_request *request; /* NULL: no line will be written */
	char corr[REQUEST_LOG_CORR_BYTES];
	bool over;
	int status;
	int64_t started_ms, connected_ms, head_ms; /* 0: not yet */
	int64_t up_bytes, down_bytes;
};

/* Copies "x-pipegate-correlation-id" of a request head; "-" if there is none. */
void request_log_corr(const void *head, size_t head_bytes, char corr[REQUEST_LOG_CORR_BYTES]);

/* `id`: protocol v1's name of the request, used if the head has none; NULL: none. Borrows the
 * connection id. */
void request_log_begin(struct request_log *l, const char *connection_id, const void *head,
		       size_t head_bytes, const char *id);
void request_log_connected(struct request_log *l);
void request_log_head(struct request_log *l, const struct head *h); /* of the response */

/* Writes the line. Only the first call counts, and only after request_log_begin(). */
/* From the beginning of the request until the response head. */
int64_t request_log_app_ms(const struct request_log *l);
void request_log_end(struct request_log *l, enum fail f, bool maybe_delivered);

/* SIGUSR1. `stream` 0: protocol v1. */
enum { REQUEST_LOG_DUMP_MAX = 200 };
void request_log_dump(const struct request_log *l, uint32_t stream, size_t held_bytes);

#endif
