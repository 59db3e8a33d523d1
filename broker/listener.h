/* broker/listener.h - The listening socket for tunnel clients and callers' WebSockets.
 *
 * Accepts connections, reads one request head from each, and calls the handler, which either fills
 * a response or has the descriptor handed over. A connection is pending until then. Pending
 * connections are limited in number, bytes and time, and libwebsockets never sees them. */
#ifndef PIPEGATE_LISTENER_H
#define PIPEGATE_LISTENER_H

#include "broker/listener_request.h"
#include "common/buf.h"
#include "common/gate_msg.h"
#include "common/local_reply.h"

#include <uv.h>

enum {
	/* Limit on pending connections; at the limit, the oldest is closed. */
	LISTENER_PENDING_MAX = 1024,
	/* How long a request head may take to arrive; then its connection is closed. */
	LISTENER_HEAD_MS = 10000,
};

/* The target of a local reply to a request (common/local_reply.h). Must not be moved or copied. */
struct listener_reply_to {
	struct local_reply_to to;
	char corr_hex[2 * CORR_BYTES + 1]; /* new and random */
	char *accept;
};

void listener_reply_to_init(struct listener_reply_to *out, const struct listener_request *r);
void listener_reply_to_fini(struct listener_reply_to *reply_to);

/* What the handler decides: a response, or a hand-over. */
struct listener_response {
	/* The complete response. The listener frees it. */
	struct buf whole;
	/* If not NULL, the listener sends nothing and calls this once libuv has released the
	 * descriptor. The callee owns `fd` and frees `hand_over_state`. */
	void (*hand_over)(void *ctx, int fd, void *hand_over_state);
	void *hand_over_state;
};

typedef void (*listener_fn)(void *ctx, const struct listener_request *r,
			    struct listener_response *out);

struct listener;

/* `spec`: ADDR:PORT, unix:PATH or ENDPOINT_INHERITED. `setting_name`: how a complaint names the
 * setting. NULL: one line on stderr has the reason. */
struct listener *listener_new(uv_loop_t *loop, const char *spec, const char *setting_name,
			      const char *socket_group, listener_fn handler, void *ctx);

/* The address, with the port that was chosen. */
const char *listener_address(const struct listener *l);

/* Closes the listening socket and all pending connections. */
void listener_stop(struct listener *l);

/* Must follow listener_stop() and one turn of the loop. */
void listener_destroy(struct listener **lp);

size_t listener_pending_count(const struct listener *l);

/* Closes connections that have passed their deadline. Call it at least every 250 ms while
 * listener_is_waiting(), and after the loop's poll, so that everything that has arrived was read
 * before. */
void listener_tick(struct listener *l);
bool listener_is_waiting(const struct listener *l);

#endif
