/* client/outgoing.h - What goes out on the tunnel's connection, in its order: the rest of what
 * is being sent, control frames that are due, then what the session has to say, masked
 * (message.h). */
#ifndef PIPEGATE_OUTGOING_H
#define PIPEGATE_OUTGOING_H

#include "client/session.h"
#include "client/websocket.h"
#include "client/conn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Initialise with outgoing_init(); end with outgoing_fini(). Private but for close_due,
 * close_sent and rest_bytes. */
struct outgoing {
	uint8_t *room;	     /* for one frame */
	const uint8_t *rest; /* what the kernel has not taken of a frame, or of the handshake */
	size_t rest_bytes;
	bool blocked; /* the kernel took no more last time */

	bool ping_due, pong_due, close_due, close_sent;
	uint8_t pong[WEBSOCKET_CONTROL_BYTES], close[WEBSOCKET_CONTROL_BYTES];
	size_t pong_bytes, close_bytes;
};

enum outgoing_state {
	OUTGOING_DONE,	  /* nothing is left to send */
	OUTGOING_MORE,	  /* a bound ended the turn */
	OUTGOING_BLOCKED, /* until the connection can be written */
	OUTGOING_BROKEN,  /* nothing goes out ever again; there may be something to read */
};

void outgoing_init(struct outgoing *o);
void outgoing_fini(struct outgoing *o);
void outgoing_reset(struct outgoing *o); /* for another connection */

void outgoing_start(struct outgoing *o, const void *data,
		    size_t bytes); /* the handshake; borrowed until it is sent */
void outgoing_ping(struct outgoing *o);

/* Of several Pings, the last is answered (RFC 6455 5.5.3): a flood of them costs no memory. */
void outgoing_pong(struct outgoing *o, const void *payload, size_t bytes);

/* The last frame. Code 1005 stands for none; at most 123 bytes of reason. Only the first call
 * counts. */
void outgoing_close(struct outgoing *o, int code, const void *reason, size_t bytes);

/* `session` NULL: there is none yet. *progress: the peer took something after the kernel had
 * been full. */
enum outgoing_state outgoing_flush(struct outgoing *o, struct conn *conn,
				   const struct session_kind *kind, void *session, bool *progress);

static inline bool outgoing_is_closing(const struct outgoing *o)
{
	return o->close_due || o->close_sent;
}

#endif
