/* client/outgoing.h - The output of the tunnel's connection, in this order: the rest of the current
 * frame, control frames that are due, then the session's messages, masked (wsframe.h). */
#ifndef PIPEGATE_OUTGOING_H
#define PIPEGATE_OUTGOING_H

#include "client/session.h"
#include "client/websocket.h"
#include "client/conn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Initialise with outgoing_init(); end with outgoing_fini(). Private, except close_due, close_sent
 * and rest_bytes. */
struct outgoing {
	uint8_t *room; /* room for one frame */
	/* The part of a frame, or of the handshake, that the kernel has not accepted. */
	const uint8_t *rest;
	size_t rest_bytes;
	bool blocked; /* the kernel accepted no more last time */

	bool ping_due, pong_due, close_due, close_sent;
	uint8_t pong[WEBSOCKET_CONTROL_BYTES], close[WEBSOCKET_CONTROL_BYTES];
	size_t pong_bytes, close_bytes;
};

enum outgoing_state {
	OUTGOING_DONE,	  /* nothing is left to send */
	OUTGOING_MORE,	  /* a bound ended the turn */
	OUTGOING_BLOCKED, /* until the connection is writable */
	OUTGOING_BROKEN,  /* nothing can be sent any more; there may be input to read */
};

void outgoing_init(struct outgoing *o);
void outgoing_fini(struct outgoing *o);
void outgoing_reset(struct outgoing *o); /* for the next connection */

/* Starts with the handshake, which is borrowed until it is sent. */
void outgoing_start(struct outgoing *o, const void *data, size_t bytes);
void outgoing_ping(struct outgoing *o);

/* Only the last of several Pings gets a Pong (RFC 6455 5.5.3), so that a flood of them costs no
 * memory. */
void outgoing_pong(struct outgoing *o, const void *payload, size_t bytes);

/* Sends the last frame. Code 1005 means none; the reason has at most 123 bytes. Only the first call
 * counts. */
void outgoing_close(struct outgoing *o, int code, const void *reason, size_t bytes);

/* `session` NULL: none yet. Sets *progress if the peer accepted bytes after the kernel's buffer was
 * full. */
enum outgoing_state outgoing_flush(struct outgoing *o, struct conn *conn,
				   const struct session_kind *kind, void *session, bool *progress);

static inline bool outgoing_is_closing(const struct outgoing *o)
{
	return o->close_due || o->close_sent;
}

#endif
