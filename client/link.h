/* client/link.h - The WebSocket to the broker: connects, keeps alive, reconnects for ever, and drives a
 * session on it. The only file of the client that includes libwebsockets.h. */
#ifndef PIPEGATE_LINK_H
#define PIPEGATE_LINK_H

#include "client/origin.h"
#include "client/settings.h"

#include <uv.h>

struct link;

/* Starts connecting at the next turn of the loop. `on_over` comes once: EXIT_REFUSED after a refused
 * token, 0 after link_stop(). NULL: one line on stderr has said why. */
struct link *link_new(uv_loop_t *loop, const struct settings *settings, struct origin *origin,
		      void (*on_over)(void *ctx, int exit_code), void *ctx);

/* Takes nothing new, ends once what runs has ended, for `most_ms` at most; 0: at once. */
void link_stop(struct link *l, int64_t most_ms);
void link_destroy(struct link **lp); /* after on_over(); then the loop has to run once more */

const char *link_library_version(void);

#endif
