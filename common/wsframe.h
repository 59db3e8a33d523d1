/* common/wsframe.h - Writes WebSocket frames (RFC 6455 5.2, 5.3): those of a client, masked, and
 * the Close of a server. Finds frame boundaries in a stream that passes. client/websocket.h reads
 * frames. Pure. */
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

/* Masks the payload in place and writes the frame head directly before it: the caller leaves
 * WSFRAME_HEAD_BYTES of room there. Returns the start of the frame. */
uint8_t *wsframe_write(uint8_t *payload, size_t bytes, const struct wsframe_piece *piece,
		       const uint8_t key[WSFRAME_KEY_BYTES], size_t *frame_bytes);

enum { WSFRAME_CONTROL_BYTES = 2 + WSFRAME_KEY_BYTES + 125 };

/* Writes a whole control frame to `out`, which has room for WSFRAME_CONTROL_BYTES; the payload has
 * at most 125 bytes. Returns its length. */
size_t wsframe_write_control(uint8_t *out, uint8_t opcode, const void *payload, size_t bytes,
			     const uint8_t key[WSFRAME_KEY_BYTES]);

/* Writes the Close of a server, which is not masked; `reason` has at most 123 bytes. Returns its
 * length. */
size_t wsframe_write_close(uint8_t *out, int code, const char *reason);

/* Finds the frame boundaries of a stream that passes in pieces of any size. Zero at first. */
struct wsframe_scanner {
	uint8_t head[WSFRAME_HEAD_BYTES];
	size_t head_bytes; /* of an incomplete head */
	uint64_t payload_left_bytes;
};

/* Scans the next piece of the stream. */
void wsframe_scan(struct wsframe_scanner *s, const uint8_t *data, size_t bytes);

/* True: a frame of our own may be inserted after the last piece. */
bool wsframe_scanner_is_between(const struct wsframe_scanner *s);

#endif
