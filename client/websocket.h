/* client/websocket.h - The receiving half of a WebSocket client (RFC 6455 5): bytes in, messages
 * and control frames out. common/wsframe.h is the sending half. Pure: no sockets.
 *
 * The cost per frame is that of its header: payloads are copied only where a message is not
 * contiguous in the input. Rejected: libwslay. It reads through a buffer of 4 KiB, so that every
 * message must be reassembled; it queues a Pong for each Ping; and it closes without a code after a
 * malformed frame. */
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

/* Called from within websocket_receive(). Their arguments are borrowed. */
struct websocket_events {
	void (*message)(void *ctx, const uint8_t *data, size_t bytes);
	void (*ping)(void *ctx, const uint8_t *payload, size_t bytes);
	/* The peer's Close; 1005 if it has no code. No event follows. */
	void (*closed)(void *ctx, int code, const uint8_t *reason, size_t bytes);
};

/* Initialise with websocket_init(); end with websocket_fini(). */
struct websocket {
	const struct websocket_events *events;
	void *ctx;
	size_t max_message_bytes;

	uint8_t header[10];
	size_t header_bytes; /* received so far */
	uint64_t left_bytes; /* payload bytes of the frame still to be received */
	bool in_payload, final, text, in_message, closed;
	uint8_t opcode;

	struct buf message; /* the part received so far */
	uint8_t control[WEBSOCKET_CONTROL_BYTES];
	size_t control_bytes;
};

void websocket_init(struct websocket *w, size_t max_message_bytes,
		    const struct websocket_events *events, void *ctx);
void websocket_fini(struct websocket *w);

/* Consumes all input, or the input before a fault. Returns 0, or the code to close with (1002,
 * 1007, 1009); *why is then a literal that says what is wrong. Input after a Close is ignored. */
int websocket_receive(struct websocket *w, const uint8_t *data, size_t bytes,
		      const char **why) MUST_CHECK;

#endif
