/* broker/core/tunnel.h - One tunnel as the owner of its socket sees it (ws.c).
 *
 * The owner calls tunnel_on_*() with what the client sent, and tunnel_pull() for what to send;
 * the tunnel calls back through struct tunnel_io. It lives until tunnel_on_closed() and the
 * hub_settle() after that. */
#ifndef PIPEGATE_TUNNEL_H
#define PIPEGATE_TUNNEL_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct protocol;
struct tunnel;
struct v1_response;

extern const struct protocol protocol_v1, protocol_v2;

/* The buffer that tunnel_pull() needs. */
enum { TUNNEL_PULL_BYTES = 192 * 1024 };

enum {
	TUNNEL_ADDRESS_BYTES = 46, /* INET6_ADDRSTRLEN */
	TUNNEL_AGENT_BYTES = 40,   /* a longer one is truncated */
};

struct tunnel_io {
	/* Write what tunnel_pull() returns, as far as the socket takes it. */
	void (*flush)(void *socket);
	/* Close with that code and reason (static text). `cut`: end the connection right after
	 * the Close. */
	void (*close)(void *socket, int ws_code, const char *reason, bool cut);
	/* Stop or resume reading the socket. */
	void (*pause)(void *socket, bool paused);
};

/* What the token of a tunnel says of itself, and the limits that it sets. */
struct tunnel_grant {
	const char *subject;	/* the claim sub */
	const char *jti;	/* "": it has none */
	int64_t issued_s;	/* iat, Unix time; 0: it has none */
	int64_t max_running;	/* 0: no limit of its own */
	int64_t max_body_bytes; /* of a request; 0: no limit of its own */
};

/* What hub_open_tunnel() needs. */
struct tunnel_start {
	const struct protocol *protocol;
	const char *id;		   /* the connection id; copied */
	int64_t life_ms;	   /* after that it is closed */
	struct tunnel_grant grant; /* copied */
	const char *address;	   /* of the client, for pipegate-ctl; copied */
	const struct tunnel_io *io;
	void *socket;
};

const char *tunnel_id(const struct tunnel *t);
const struct tunnel_grant *tunnel_grant_of(const struct tunnel *t);

/* True: messages are text, not binary. */
bool tunnel_is_text(const struct tunnel *t);

/* True: messages may be decoded on another thread, by v1_response_decode() and
 * tunnel_on_decoded(). */
bool tunnel_decodes(const struct tunnel *t);

/* The largest message that its client may send. */
size_t tunnel_message_max_bytes(const struct tunnel *t);

/* Writes the next piece for the wire to `out` (TUNNEL_PULL_BYTES) and sets whether it is the
 * first and the last of its WebSocket message. 0: nothing to send. */
size_t tunnel_pull(struct tunnel *t, uint8_t *out, bool *first, bool *final) MUST_CHECK;

/* Charges a message or a piece of one to the share of the turn that all tunnels of this id have.
 * True: the share is spent, and the socket must not be read before the next turn. */
bool tunnel_spend(struct tunnel *t, size_t bytes) MUST_CHECK;

/* A message is incomplete; message_bytes of it have been gathered. */
void tunnel_on_piece(struct tunnel *t, size_t message_bytes);
/* A message is complete. */
void tunnel_on_message(struct tunnel *t, const uint8_t *data, size_t bytes);
/* A complete message is being decoded elsewhere; then its result, which the caller ends. */
void tunnel_on_decoding(struct tunnel *t, size_t message_bytes);
void tunnel_on_decoded(struct tunnel *t, struct v1_response *r);
/* The socket is gone. */
void tunnel_on_closed(struct tunnel *t, int ws_code, const char *reason);

/* Closes the tunnel; the first reason wins. Exchanges that have not been sent return to the
 * queue of their id, the others fail as tunnel-lost. Frees nothing. `reason` is static text,
 * shown to the peer. */
void tunnel_kill(struct tunnel *t, int ws_code, const char *reason);

#endif
