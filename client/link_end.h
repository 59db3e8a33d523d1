/* client/link_end.h - How a connection of the tunnel, or an attempt, ended: our reason, the
 * server's reason, or why there was no connection. The first cause counts. Pure. */
#ifndef PIPEGATE_LINK_END_H
#define PIPEGATE_LINK_END_H

#include "client/lifecycle.h"
#include "client/websocket.h"

#include <stdbool.h>
#include <stddef.h>

enum { LINK_END_SHOWN_BYTES = 512 }; /* longer than any text that is made */

/* Zero-initialise. Callers may read `cause` and `shown`; *e must not move. */
struct link_end {
	bool is_set;
	struct lifecycle_end cause;
	char reason[WEBSOCKET_CONTROL_BYTES];
	char shown[LINK_END_SHOWN_BYTES]; /* fit to be logged in quotes */
};

void link_end_reset(struct link_end *e);

/* The end was a Close with this reason. */
void link_end_set(struct link_end *e, int code, const void *reason, size_t bytes);

/* Sets a text of our own, which is already quoted or holds nothing to quote. */
void link_end_set_words(struct link_end *e, int code, bool by_http, const char *words);

#endif
