/* client/link_end.h - How a connection of the tunnel, or an attempt, ended: our reason, the
 * server's reason, or why there was no connection. The first cause counts. Pure. */
#ifndef PIPEGATE_LINK_END_H
#define PIPEGATE_LINK_END_H

#include "client/lifecycle.h"
#include "client/link_handshake.h"
#include "client/websocket.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	LINK_END_SHOWN_BYTES = 512, /* longer than any text that is made */
	LINK_END_LOST = 1006,	    /* the code of an end without a Close (RFC 6455 7.1.5) */
};

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

/* The connection broke, for the reason `why`, or the server closed it ("").
 * `handshake` is the opening handshake while it runs; NULL: it is over. */
void link_end_set_by_conn(struct link_end *e, const char *why, struct link_handshake *handshake);

/* The wait of this state has ended. `handshake` as above. */
void link_end_set_by_time(struct link_end *e, enum lifecycle_state state,
			  struct link_handshake *handshake);

#endif
