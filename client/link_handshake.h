/* client/link_handshake.h - The opening handshake of the tunnel's WebSocket (RFC 6455 4.1): the
 * request, and the server's response, with failures described for an operator. Pure: no sockets. */
#ifndef PIPEGATE_LINK_HANDSHAKE_H
#define PIPEGATE_LINK_HANDSHAKE_H

#include "client/settings.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct link_handshake;

enum link_handshake_state {
	HANDSHAKE_GOING,
	HANDSHAKE_DONE,	  /* frames follow in the input */
	HANDSHAKE_FAILED, /* link_handshake_why() has the reason */
};

struct link_handshake *link_handshake_new(const struct tunnel_server *server);
void link_handshake_destroy(struct link_handshake **hp);

/* Appends the request, which holds the token. */
void link_handshake_write(struct link_handshake *h, struct buf *out);

/* Consumes *used bytes. */
enum link_handshake_state link_handshake_receive(struct link_handshake *h, const void *data,
						 size_t bytes, size_t *used);

/* The peer closed, or the wait has ended: FAILED, by what has arrived. */
enum link_handshake_state link_handshake_end(struct link_handshake *h);

int link_handshake_status(const struct link_handshake *h); /* of the response; 0: none yet */
/* DONE: the server selected pipegate.v2 */
bool link_handshake_is_v2(const struct link_handshake *h);
/* FAILED: why, fit to be logged in quotes. */
const char *link_handshake_why(const struct link_handshake *h);

#endif
