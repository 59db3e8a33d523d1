/* client/link.h - The tunnel to the server: connects, keeps it alive, reconnects forever, and runs
 * a session on it. lifecycle.h decides when; conn.h, link_handshake.h, websocket.h and outgoing.h
 * make up the connection. */
#ifndef PIPEGATE_LINK_H
#define PIPEGATE_LINK_H

#include "client/fetch.h"
#include "client/settings.h"
#include "common/window_budget.h"

#include <uv.h>

struct link;

/* Starts connecting in the next turn of the loop. `on_over` is called once: with EXIT_REFUSED after
 * the server refused the token, with 0 after link_stop(). */
struct link *link_new(uv_loop_t *loop, const struct tunnel_server *server,
		      struct fetch_engine *engine, struct window_budget *windows,
		      void (*on_over)(void *ctx, int exit_code), void *ctx);

/* Accepts no new request and ends when the running ones have ended, or after `most_ms`; 0: at
 * once. */
void link_stop(struct link *l, int64_t most_ms);
/* SIGUSR1: writes the tunnel and its requests to the log. */
void link_dump(const struct link *l);
/* Call after on_over(). Run the loop once more after it. */
void link_destroy(struct link **lp);

#endif
