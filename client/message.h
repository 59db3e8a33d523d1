/* client/message.h - WebSocket frames as a client sends them (RFC 6455 5.2, 5.3). libwebsockets masks byte by byte,
 * which costs a large body more than all the rest of the client does. Pure. */
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

#endif
