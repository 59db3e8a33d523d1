/* broker/handshake.h - Classifies a request at the listener as a WebSocket handshake or not (RFC
 * 6455
 * 4.2.1; contract section 6). Writes the handshake for libwebsockets. Pure. */
#ifndef PIPEGATE_HANDSHAKE_H
#define PIPEGATE_HANDSHAKE_H

#include "broker/listener_request.h"

enum { HANDSHAKE_KEY_BYTES = 24 };

enum handshake {
	/* The request does not ask for a WebSocket. */
	HANDSHAKE_NONE,
	/* It has GET, HTTP/1.1, one valid Host, Connection: upgrade, Upgrade: websocket, a valid
	 * key, version 13 and no body. */
	HANDSHAKE_GOOD,
	/* It is good except for Sec-WebSocket-Version: must get 426 (RFC 6455 4.4). */
	HANDSHAKE_OTHER_VERSION,
	/* It asks for a WebSocket but violates RFC 6455, or repeats a field that may occur once. */
	HANDSHAKE_BAD,
};

enum handshake handshake_classify(const struct listener_request *r);

enum { HANDSHAKE_BYTES = 512 };

/* Writes the handshake that libwebsockets gets instead of the peer's. Only the key in it is from
 * the peer, and its form was checked. `v2`: the peer offers pipegate.v2. Returns the length. */
size_t handshake_write(char out[HANDSHAKE_BYTES], const char *key, bool v2);

#endif
