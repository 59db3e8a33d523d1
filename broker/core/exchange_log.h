/* broker/core/exchange_log.h - What the log and the metrics say of exchanges: each change of state
 * (-v), one line at the end (common/access_log.h), and the times of its way. The core calls it
 * where something happens; it changes nothing but its own fields and hub->stats. */
#ifndef PIPEGATE_EXCHANGE_LOG_H
#define PIPEGATE_EXCHANGE_LOG_H

#include "common/access_log.h"
#include "common/fail.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct tunnel;

/* In struct exchange, zero at first. */
struct exchange_log {
	/* Of access_log_request_of(); NULL: there will be no line. */
	struct access_log_request *request;
	uint64_t tunnel;    /* the last that had it; 0: none */
	int64_t taken_ms;   /* when that got it */
	int64_t head_ms;    /* when the response head came; 0: not yet */
	int64_t web_ms;	    /* how long the responder had the request before */
	int64_t app_ms;	    /* what the client says that the app took; -1: unknown */
	int64_t down_bytes; /* given to the responder */
	int status;	    /* of that head */
};

void exchange_log_open(struct exchange *x, const struct gate_msg *m);
void exchange_log_state(const struct exchange *x, const char *from, const char *to);
void exchange_log_take(struct exchange *x, const struct tunnel *t);
void exchange_log_head(struct exchange *x, const void *head, size_t head_bytes);
/* Counts it in hub->stats, writes the line, and frees what was kept for it. */
void exchange_log_end(struct exchange *x);

/* An OPEN that made no exchange. */
void exchange_log_refused(const struct gate_msg *m, enum fail f);

#endif
