/* common/wsframe.h - Writes WebSocket frames (RFC 6455 5.2, 5.3): those of a client, masked, and
 * the Close of a server. The receiving half is websocket.h. Pure. */
#ifndef PIPEGATE_WSFRAME_H
#define PIPEGATE_WSFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WSFRAME_HEAD_BYTES = 14, WSFRAME_KEY_BYTES = 4 };

/* A piece of a message. */
struct wsframe_piece {
	bool text, first, final;
};

/* Masks the payload where it stands and puts the head before it, into the WSFRAME_HEAD_BYTES
 * there. Returns where the frame begins. */
uint8_t *wsframe_write(uint8_t *payload, size_t bytes, const struct wsframe_piece *piece,
		       const uint8_t key[WSFRAME_KEY_BYTES], size_t *frame_bytes);

enum { WSFRAME_CONTROL_BYTES = 2 + WSFRAME_KEY_BYTES + 125 };

/* Writes a whole control frame of at most 125 bytes of payload to `out`, which has
 * WSFRAME_CONTROL_BYTES. Returns its length. */
size_t wsframe_write_control(uint8_t *out, uint8_t opcode, const void *payload, size_t bytes,
			     const uint8_t key[WSFRAME_KEY_BYTES]);

/* Writes the Close of a server, which is not masked, with at most 123 bytes of reason. */
size_t wsframe_write_close(uint8_t *out, int code, const char *reason);

#endif
