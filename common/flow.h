/* common/flow.h - Flow control of one v2 stream, for both ends (PROTOCOL.md, "Flow control"): how
 * much of a body may be sent, how much the peer may send, when it is granted more, and how large
 * the window is. Pure arithmetic.
 *
 * The receiving end: what the peer may still send + what is held here + what was consumed and has
 * not been granted again = the window. So at most one window of one body is ever held. */
#ifndef PIPEGATE_FLOW_H
#define PIPEGATE_FLOW_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FLOW_WINDOW_MAX_BYTES = 16 * 1024 * 1024 };

/* Initialise with flow_init(). Private but for `send_bytes`, bytes that the peer still accepts, and
 * `window_bytes`, the receive window: both may be read. */
struct flow {
	int64_t send_bytes;
	int64_t window_bytes;
	int64_t least_bytes;   /* what `window_bytes` was at first */
	int64_t receive_bytes; /* what the peer may still send */
	/* Since when the consumption of a window is timed (0: not yet), and what was consumed. */
	int64_t round_ms;
	int64_t round_bytes;
};

/* Both windows of a new stream: the peer's, from its HELLO, and ours, where it starts. */
void flow_init(struct flow *f, int64_t send_window_bytes, int64_t receive_window_bytes);

/* How many of `bytes` waiting body bytes the next frame may hold: at most FRAME_DATA_BYTES, and
 * the peer's window. */
size_t flow_piece_bytes(const struct flow *f, size_t bytes);
void flow_sent(struct flow *f, size_t bytes);

/* The payload of a WINDOW frame. False: it is not 4 bytes, or the window exceeds what 31 bits
 * hold. */
bool flow_on_window(struct flow *f, const uint8_t *payload, size_t bytes) MUST_CHECK;

/* Body bytes have arrived. False: more than was granted. */
bool flow_received(struct flow *f, size_t bytes) MUST_CHECK;

/* Body bytes were handed on, and `held_bytes` still wait. Halves a window that is used little.
 * True: the window was the limit; the caller calls flow_grow() if there is a budget for it. Then
 * it calls flow_grant(). `rtt_ms`: the least round trip of the tunnel; 0: unknown. */
bool flow_consumed(struct flow *f, size_t bytes, size_t held_bytes, int64_t now_ms, int64_t rtt_ms);

/* By how much flow_grow() will widen the window. */
int64_t flow_growth_bytes(const struct flow *f);
void flow_grow(struct flow *f);

/* How much to grant the peer now, by a WINDOW frame; 0: nothing yet. It is granted in lots of a
 * quarter of the window, so that WINDOW frames are few. `limit_bytes` may be less than the window:
 * nothing is granted until the peer's window and `held_bytes`, together, are below it. */
uint32_t flow_grant(struct flow *f, int64_t limit_bytes, size_t held_bytes);

/* The body has ended: no further byte of it is accepted. */
void flow_end(struct flow *f);

/* False for a flow of zeros. */
bool flow_is_used(const struct flow *f);

/* What is held, or may be once all that was granted has arrived, beyond the first window. */
int64_t flow_extra_bytes(const struct flow *f, size_t held_bytes);

#endif
