/* broker/core/budget.h - PIPEGATE_MAX_BUFFER_BYTES_PER_ID: bytes held for one connection id; and
 * PIPEGATE_BUFFER_BYTES: what receive windows have beyond their first size. Private to
 * broker/core/. */
#ifndef PIPEGATE_BUDGET_H
#define PIPEGATE_BUDGET_H

#include "broker/core/group.h"

enum {
	/* The largest message of any client. */
	BUDGET_MESSAGE_BYTES = 16 * 1024 * 1024,
	/* The one tunnel that is read although the budget is full is closed after this silence. */
	BUDGET_STALL_MS = 10000,
};

bool budget_is_full(const struct group *r);  /* accept nothing new */
bool budget_is_tight(const struct group *r); /* grant no more window */
bool budget_admits(const struct group *r, size_t bytes);
size_t budget_message_bytes(const struct tunnel *t); /* the largest message from its client */

/* Changes what `r` is charged for something from *charged to `bytes`, and sets *charged. */
void budget_charge(struct group *r, size_t *charged, size_t bytes);
/* `bytes` of a message from the client are held; `unfinished`: the message is incomplete. */
void budget_message(struct tunnel *t, size_t bytes, bool unfinished);
void budget_new_tunnel(struct tunnel *t);

/* PIPEGATE_BUFFER_BYTES: true if the receive window of this exchange may grow. Then what the budget
 * is charged for the window, after it, `down` or the stream have changed. */
bool budget_admits_window(const struct exchange *x);
void budget_charge_window(struct exchange *x);

/* What a message or a piece of one costs the loop: all tunnels of an id share so much in each
 * turn. True: it is spent, and the tunnel is not to be read before the next turn. */
bool budget_spend(struct tunnel *t, size_t bytes) MUST_CHECK;
void budget_unmark(struct group *r);

/* The threshold of budget_is_full(). */
size_t budget_full_bytes(const struct hub *h);
/* How long a message may be unfinished. */
int64_t budget_message_wait_ms(const struct hub *h);

/* --- throttle.c --- */
void throttle_settle(struct hub *h); /* pauses and resumes reading */
void throttle_tick(struct hub *h);

#endif
