/* common/rtt.h - The least round trip of a v2 tunnel, measured by PING and PONG (PROTOCOL.md,
 * "Round trip"), and the PONGs that the peer is owed. Pure; the caller sends the frames.
 *
 * The least one, not a mean: a mean rises with the queue that large windows make, and would let
 * windows grow for ever on a slow path. */
#ifndef PIPEGATE_RTT_H
#define PIPEGATE_RTT_H

#include "common/check.h"
#include "common/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Initialise with zeros. Private but for `least_ms`: 0 until the first PONG, at least 1 then. */
struct rtt {
	int64_t least_ms;
	uint64_t number;  /* of the last PING */
	bool outstanding; /* its PONG has not arrived */
	bool fresh;	  /* its round trip replaces least_ms, even if it is longer */
	bool pong_due;
	bool has_sent;
	int64_t sent_ms; /* the last PING */
	int64_t bulk_ms; /* the last RTT_BULK */
	uint8_t pong[FRAME_PING_BYTES];
};

enum rtt_occasion {
	RTT_START, /* a body may follow, and little is under way now */
	RTT_BULK,  /* a window is being granted again: a queue may be under way */
};

/* True: the caller sends a PING with that payload now. */
bool rtt_ping(struct rtt *r, int64_t now_ms, enum rtt_occasion occasion,
	      uint8_t payload[FRAME_PING_BYTES]) MUST_CHECK;

/* A PING or a PONG has arrived; others than those that PROTOCOL.md allows have no effect. */
void rtt_on_frame(struct rtt *r, int64_t now_ms, const struct frame *f);

/* True: a PONG with that payload is due, and counts as sent. The last PING is answered: a flood of
 * them costs no memory. */
bool rtt_take_pong(struct rtt *r, uint8_t payload[FRAME_PING_BYTES]) MUST_CHECK;

#endif
