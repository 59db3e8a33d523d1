/* client/link_end.h - How a connection of the tunnel, or an attempt, ended: what we said, what the
 * server said, or why there was no connection. The first cause counts. Pure. */
#ifndef PIPEGATE_LINK_END_H
#define PIPEGATE_LINK_END_H

#include "client/lifecycle.h"
#include "client/websocket.h"

#include <stdbool.h>
#include <stddef.h>

enum { LINK_END_SHOWN_BYTES = 512 }; /* longer than any that is made */

/* Zero-initialise. `cause` and `shown` may be read; *e must not move. */
struct link_end {
	bool is_set;
	struct lifecycle_end cause;
	char reason[WEBSOCKET_CONTROL_BYTES];
	char shown[LINK_END_SHOWN_BYTES]; /* fit to be logged in quotes */
};

void link_end_reset(struct link_end *e);

/* By a Close, with its reason as it was sent. */
void link_end_set(struct link_end *e, int code, const void *reason, size_t bytes);

/* In words of ours that are quoted already, or that hold nothing to quote. */
void link_end_set_words(struct link_end *e, int code, bool by_http, const char *words);

#endif
