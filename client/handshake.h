/* client/handshake.h - The opening handshake of the tunnel's WebSocket (RFC 6455 4.1): the request, and what the server
 * says to it, in words that an operator can use. Pure: no sockets. */
#ifndef PIPEGATE_HANDSHAKE_H
#define PIPEGATE_HANDSHAKE_H

#include "client/settings.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct handshake;

enum handshake_state {
	HANDSHAKE_GOING,
	HANDSHAKE_DONE,	  /* what follows in the input are frames */
	HANDSHAKE_FAILED, /* handshake_why() says why */
};

struct handshake *handshake_new(const struct settings *settings);
void handshake_destroy(struct handshake **hp);

void handshake_write(struct handshake *h,
		     struct buf *out); /* appends the request; it holds the token */

/* Consumes *used bytes. */
enum handshake_state handshake_take(struct handshake *h, const void *data, size_t bytes,
				    size_t *used);

/* Nothing more comes, or the wait is over: FAILED, with what has come. */
enum handshake_state handshake_end(struct handshake *h);

int handshake_status(const struct handshake *h);      /* of the response; 0: none has come */
bool handshake_is_v2(const struct handshake *h);      /* DONE: the server chose pipegate.v2 */
const char *handshake_why(const struct handshake *h); /* FAILED: fit to be logged in quotes */

#endif
