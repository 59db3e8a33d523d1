/* client/link_handshake.h - The opening handshake of the tunnel's WebSocket (RFC 6455 4.1): the request, and what the server
 * says to it, in words that an operator can use. Pure: no sockets. */
#ifndef PIPEGATE_LINK_HANDSHAKE_H
#define PIPEGATE_LINK_HANDSHAKE_H

#include "client/settings.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct link_handshake;

enum link_handshake_state {
	HANDSHAKE_GOING,
	HANDSHAKE_DONE,	  /* what follows in the input are frames */
	HANDSHAKE_FAILED, /* link_handshake_why() says why */
};

struct link_handshake *link_handshake_new(const struct tunnel_server *server);
void link_handshake_destroy(struct link_handshake **hp);

void link_handshake_write(struct link_handshake *h,
			  struct buf *out); /* appends the request; it holds the token */

/* Consumes *used bytes. */
enum link_handshake_state link_handshake_receive(struct link_handshake *h, const void *data,
						 size_t bytes, size_t *used);

/* Nothing more comes, or the wait is over: FAILED, with what has come. */
enum link_handshake_state link_handshake_end(struct link_handshake *h);

int link_handshake_status(const struct link_handshake *h); /* of the response; 0: none has come */
bool link_handshake_is_v2(const struct link_handshake *h); /* DONE: the server chose pipegate.v2 */
/* FAILED: fit to be logged in quotes */
const char *link_handshake_why(const struct link_handshake *h);

#endif
