/* client/link.h - The tunnel to the server: connects, keeps it alive, reconnects forever, and drives a session on it.
 * lifecycle.h decides when; conn.h, link_handshake.h, websocket.h and message.h are the connection; this joins them. */
#ifndef PIPEGATE_LINK_H
#define PIPEGATE_LINK_H

#include "client/fetch.h"
#include "client/settings.h"

#include <uv.h>

struct link;

/* Starts connecting at the next turn of the loop. `on_over` is called once: with EXIT_REFUSED after a refused token,
 * with 0 after link_stop(). */
struct link *link_new(uv_loop_t *loop, const struct tunnel_server *server,
		      struct fetch_engine *engine, void (*on_over)(void *ctx, int exit_code),
		      void *ctx);

/* Accepts no new request and ends once the running ones have ended, after `most_ms` at the latest; 0: at once. */
void link_stop(struct link *l, int64_t most_ms);
/* SIGUSR1: writes the tunnel and what runs on it to the log. */
void link_dump(const struct link *l);
void link_destroy(struct link **lp); /* after on_over(); then the loop has to run once more */

#endif
