/* broker/handshake.h - Is a request head at the listener a WebSocket handshake (RFC 6455 4.2.1;
 * contract section 6)? Pure. */
#ifndef PIPEGATE_HANDSHAKE_H
#define PIPEGATE_HANDSHAKE_H

#include "broker/listener_request.h"

enum { HANDSHAKE_KEY_BYTES = 24 };

enum handshake {
	HANDSHAKE_NONE, /* it asks for no WebSocket */
	/* GET, HTTP/1.1, one valid Host, Connection: upgrade, Upgrade: websocket, a valid key,
	 * version 13, no body */
	HANDSHAKE_GOOD,
	/* Good, but for another or no Sec-WebSocket-Version: 426 (RFC 6455 4.4). */
	HANDSHAKE_OTHER_VERSION,
	/* Asks for an upgrade against RFC 6455, or repeats a field that must stand once. */
	HANDSHAKE_BAD,
};

enum handshake handshake_judge(const struct listener_request *r);

enum { HANDSHAKE_BYTES = 512 };

/* Writes the head that libwebsockets is given in place of the peer's: of what the peer sent, it has
 * the key only, whose form was checked. `v2`: the peer offers pipegate.v2. Returns its length. */
size_t handshake_write(char out[HANDSHAKE_BYTES], const char *key, bool v2);

#endif
