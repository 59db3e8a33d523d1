/* common/gate_msg.h - The gate protocol: one message between a responder and the broker
 * (PROTOCOL.md, "Gate"). Pure encode and decode; knows no ZeroMQ.
 *
 * Lock-step: the responder sends OPEN, then STEPs; the broker sends exactly one REPLY for each
 * (or PONG to PING, nothing to ALIVE). A message is one ZeroMQ frame: a control block of
 * GATE_CONTROL_BYTES, then the connection id (OPEN), the head, the body piece. */
#ifndef PIPEGATE_GATE_MSG_H
#define PIPEGATE_GATE_MSG_H

#include "common/check.h"
#include "common/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GATE_VERSION = 1,
	GATE_CONTROL_BYTES = 64,
	GATE_PIECE_BYTES = 256 * 1024,	     /* largest body piece in one message */
	GATE_MAX_MESSAGE_BYTES = 512 * 1024, /* control + id + head + piece, with room */
	CORR_BYTES = 16,		     /* correlation id; 32 hex digits as text */
	CONNECTION_ID_MAX_BYTES = 64,
};

enum gate_kind {
	/* responder to broker */
	GATE_OPEN = 1,	 /* a new exchange: connection id, request head, first body piece */
	GATE_STEP = 2,	 /* a further body piece (or none) up; fetches what is down */
	GATE_CANCEL = 3, /* give the exchange up; `fail` says why. Answered by an END reply */
	GATE_PING = 4,	 /* is the broker there? Answered by PONG */
	GATE_ALIVE = 5,	 /* "process `process` still lives"; no reply */
	/* broker to responder */
	GATE_REPLY = 16,
	GATE_PONG = 17,
};

enum gate_flags {
	GATE_BODY_END = 1,     /* OPEN, STEP: the request body ends with this piece */
	GATE_HAS_HEAD = 2,     /* REPLY: the head is the response head (once per exchange) */
	GATE_RESPONSE_END = 4, /* REPLY: the response is complete with this piece; exchange over */
	GATE_FAILED = 8,       /* REPLY: the exchange ended as `fail` says; exchange over */
	GATE_ACCEPTED = 16, /* REPLY+FAILED: the exchange had been accepted before (see fail.h) */
	GATE_MAYBE_DELIVERED = 32, /* REPLY+FAILED: the local app may have seen the request */
	GATE_HAS_LENGTH = 64,	   /* OPEN: `body_total_bytes` is the declared Content-Length */
};

struct gate_msg {
	uint8_t kind;
	uint8_t flags;
	uint8_t fail; /* enum fail: CANCEL, REPLY+FAILED */
	/* Which of its requests the responder means by this message; the reply has the same. The
	 * broker only echoes it. */
	uint16_t seat;
	/* OPEN, STEP: how long the broker may hold the reply while it has nothing to say.
	 * REPLY: how many more request body bytes it takes now. */
	uint32_t number;
	uint8_t corr[CORR_BYTES];
	/* The broker's random boot id: in REPLY and PONG; echoed in STEP and CANCEL. */
	uint64_t boot;
	uint64_t process; /* the responder process's random id: OPEN, STEP, CANCEL, ALIVE */
	uint64_t body_total_bytes;
	/* OPEN: how long the responder has had the request, for metrics. */
	uint32_t web_ms;
	/* These point into the decoded message, or at what is to be encoded. */
	const char *id; /* OPEN: connection id, not NUL-terminated */
	size_t id_bytes;
	const uint8_t *head;
	size_t head_bytes;
	const uint8_t *body;
	size_t body_bytes;
};

const char *gate_msg_kind_name(uint8_t kind); /* "OPEN"; "UNKNOWN" */
size_t gate_msg_bytes(const struct gate_msg *m);
void gate_msg_encode(const struct gate_msg *m, uint8_t *out); /* writes gate_msg_bytes() */

/* False: not a gate message of our version, or lengths that do not add up. Safe on any bytes.
 * A head is checked for its bounds only; readers use head.h. */
bool gate_msg_decode(const void *data, size_t bytes, struct gate_msg *out) MUST_CHECK;

#endif
