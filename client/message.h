/* client/message.h - WebSocket frames as a client sends them (RFC 6455 5.2, 5.3). The receiving half is websocket.h.
 * Pure. */
#ifndef PIPEGATE_MESSAGE_H
#define PIPEGATE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MESSAGE_HEAD_BYTES = 14, MESSAGE_KEY_BYTES = 4 };

/* A piece of a message. */
struct message_piece {
	bool text, first, final;
};

/* Masks the payload where it stands and puts the head before it, into the MESSAGE_HEAD_BYTES there. Returns where
 * the frame begins. */
uint8_t *message_frame(uint8_t *payload, size_t bytes, const struct message_piece *piece,
		       const uint8_t key[MESSAGE_KEY_BYTES], size_t *frame_bytes);

enum { MESSAGE_CONTROL_BYTES = 2 + MESSAGE_KEY_BYTES + 125 };

/* Writes a whole control frame of at most 125 bytes of payload to `out`, which has MESSAGE_CONTROL_BYTES. Returns its
 * length. */
size_t message_control(uint8_t *out, uint8_t opcode, const void *payload, size_t bytes,
		       const uint8_t key[MESSAGE_KEY_BYTES]);

#endif
