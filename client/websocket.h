/* client/websocket.h - The receiving half of a WebSocket client (RFC 6455 5): bytes in, messages
 * and control frames out. The sending half is message.h. Pure: no sockets.
 *
 * A frame costs what its header costs: payloads are copied only where a message does not lie in
 * one piece in the input. libwslay was considered: it reads through 4 KiB of its own, so that
 * every message has to be put together again, queues a Pong for each Ping, and closes without a
 * code where a frame is malformed. */
#ifndef PIPEGATE_WEBSOCKET_H
#define PIPEGATE_WEBSOCKET_H

#include "common/buf.h"
#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WEBSOCKET_CONTROL_BYTES = 125, /* the largest payload of a control frame */
	WEBSOCKET_CLOSE = 8,
	WEBSOCKET_PING = 9,
	WEBSOCKET_PONG = 10,
};

/* From within websocket_receive(). What they point to is borrowed. */
struct websocket_events {
	void (*message)(void *ctx, const uint8_t *data, size_t bytes);
	void (*ping)(void *ctx, const uint8_t *payload, size_t bytes);
	/* The peer's Close; 1005 if it has no code. Nothing comes after it. */
	void (*closed)(void *ctx, int code, const uint8_t *reason, size_t bytes);
};

/* Initialise with websocket_init(); end with websocket_fini(). */
struct websocket {
	const struct websocket_events *events;
	void *ctx;
	size_t max_message_bytes;

	uint8_t header[10];
	size_t header_bytes; /* that have come of it */
	uint64_t left_bytes; /* payload bytes of the frame that have not come */
	bool in_payload, final, text, in_message, closed;
	uint8_t opcode;

	struct buf message; /* of which a part has come */
	uint8_t control[WEBSOCKET_CONTROL_BYTES];
	size_t control_bytes;
};

void websocket_init(struct websocket *w, size_t max_message_bytes,
		    const struct websocket_events *events, void *ctx);
void websocket_fini(struct websocket *w);

/* Takes all of the input, or what comes before a fault: then the result is the code to close with
 * (1002, 1007, 1009) and
 * *why a literal that says what is wrong. 0: none; the input behind a Close is ignored. */
int websocket_receive(struct websocket *w, const uint8_t *data, size_t bytes,
		      const char **why) MUST_CHECK;

#endif
