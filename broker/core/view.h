/* broker/core/view.h - The tables of the core as an operator sees them: for pipegate-ctl. */
#ifndef PIPEGATE_VIEW_H
#define PIPEGATE_VIEW_H

#include "broker/core/hub.h"

/* All texts are valid during the call only. */
struct tunnel_view {
	const char *id, *subject, *jti; /* jti: "" if the token has none */
	const char *protocol, *state;
	const char *agent;   /* the client's program and version, from its HELLO; "": unknown */
	const char *address; /* of the client; "": unknown */
	uint64_t number;     /* as in the log */
	int64_t age_ms, expires_in_ms;
	int64_t rtt_ms; /* 0: not measured */
	size_t running, max_running, websockets;
	uint64_t requests;	      /* that it was given, since it opened */
	uint64_t in_bytes, out_bytes; /* of all messages, from and to the client */
	size_t held_bytes;
};

struct exchange_view {
	const char *state;
	const uint8_t *corr; /* CORR_BYTES */
	uint64_t tunnel;     /* 0: on none */
	bool websocket;
	int64_t age_ms, up_bytes, down_bytes;
};

/* What one connection id has. */
struct id_view {
	size_t tunnels, queued, exchanges, websockets, held_bytes;
	bool seen; /* had a tunnel since the start of the broker */
};

typedef void (*view_tunnel_fn)(void *ctx, const struct tunnel_view *v);
typedef void (*view_exchange_fn)(void *ctx, const struct exchange_view *v);

/* The tunnels, the oldest first; `id` NULL: of all ids. */
void view_tunnels(const struct hub *h, const char *id, view_tunnel_fn fn, void *ctx);
/* The exchanges of `id`, at most `max` of them. */
void view_exchanges(const struct hub *h, const char *id, size_t max, view_exchange_fn fn,
		    void *ctx);
/* False: nothing is known of that id. */
bool view_id(struct hub *h, const char *id, struct id_view *out);

#endif
