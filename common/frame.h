/* common/frame.h - Frames of tunnel protocol v2 (PROTOCOL.md, "Tunnel v2"). Pure encode and decode.
 *
 * A binary WebSocket message holds one or more whole frames. A frame is a header of
 * FRAME_HEADER_BYTES (type 1, flags 1, zero 2, stream 4, payload length 4; big-endian) and a
 * payload. */
#ifndef PIPEGATE_FRAME_H
#define PIPEGATE_FRAME_H

#include "common/buf.h"
#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIPEGATE_V2_PROTOCOL "pipegate.v2"

enum {
	FRAME_HEADER_BYTES = 12,
	FRAME_DATA_BYTES = 16 * 1024,	      /* largest body piece our senders put in one frame */
	FRAME_MAX_PAYLOAD_BYTES = 128 * 1024, /* a receiver closes the tunnel (1009) over this */
	FRAME_MAX_MESSAGE_BYTES = 256 * 1024, /* likewise, for the whole WebSocket message */
	FRAME_WINDOW_BYTES = 256 * 1024,      /* initial window per stream and direction */
	FRAME_LEAST_WINDOW_BYTES = 64 * 1024, /* that of a peer whose HELLO names none; the least */
	FRAME_PING_BYTES = 8,
};

enum frame_type {
	FRAME_HELLO = 1,  /* stream 0, first frame each way: a head (head.h), see below */
	FRAME_OPEN = 2,	  /* broker to client: u32 head length, request head, first body piece */
	FRAME_HEAD = 3,	  /* client to broker: u32 head length, response head, first body piece */
	FRAME_DATA = 4,	  /* body piece */
	FRAME_WINDOW = 5, /* u32: the sender of this frame takes so many more body bytes */
	FRAME_RESET = 6,  /* u8 enum fail, u8 delivered (0 no, 1 maybe), log text */
	FRAME_GOAWAY = 7, /* stream 0: "open nothing new; I close when what runs has ended" */
	FRAME_PING = 8,	  /* stream 0: FRAME_PING_BYTES, to be echoed (rtt.h) */
	FRAME_PONG = 9,	  /* stream 0: the echo */
};

enum frame_flags {
	FRAME_END = 1, /* OPEN, HEAD, DATA: the body is complete with this piece */
};

/* Fields of HELLO: "version" ("2"), "instance" (32 hex digits, client only: names the process),
 * "max-streams" and "window" (decimal), "agent" (text). Unknown ones are skipped. */

struct frame {
	uint8_t type;
	uint8_t flags;
	uint32_t stream;
	const uint8_t *payload;
	size_t payload_bytes;
};

void frame_put_header(uint8_t *out, uint8_t type, uint8_t flags, uint32_t stream,
		      size_t payload_bytes);

/* Appends a whole frame to `out`. */
void frame_append(struct buf *out, uint8_t type, uint32_t stream, const void *payload,
		  size_t bytes);

/* Moves whole frames, as many as fit, from `frames`, which holds nothing else. Returns their
 * bytes. */
size_t frame_move(struct buf *frames, uint8_t *out, size_t room_bytes);

/* OPEN, HEAD or DATA as they are sent. */
struct frame_piece {
	uint8_t type, flags;
	uint32_t stream;
	const void *head; /* DATA has none */
	size_t head_bytes;
	const void *body;
	size_t body_bytes;
};

/* Writes the frame, of frame_piece_bytes() bytes, to `out`. Returns them. */
size_t frame_put_piece(uint8_t *out, const struct frame_piece *p);
size_t frame_piece_bytes(const struct frame_piece *p);

/* 1: *out is the frame at data, *used_bytes its whole size. 0: data ends before the frame does.
 * -1: its length is over FRAME_MAX_PAYLOAD_BYTES. Safe on any bytes. */
int frame_get(const void *data, size_t bytes, struct frame *out, size_t *used_bytes) MUST_CHECK;

const char *frame_type_name(uint8_t type); /* "OPEN"; "UNKNOWN" for one of a later version */

/* Splits the payload of OPEN or HEAD. False: lengths that do not add up, or a malformed head. */
bool frame_split_head(const struct frame *f, const uint8_t **head, size_t *head_bytes,
		      const uint8_t **body, size_t *body_bytes) MUST_CHECK;

#endif
