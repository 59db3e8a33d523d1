/* common/flow.h - Flow control of one v2 stream, for both ends (PROTOCOL.md, "Tunnel v2"): how much
 * of a body may be sent, how much the peer may send, and when it is granted more. Pure arithmetic.
 *
 * Invariant at the receiving end, of one window W: what the peer may still send + what is held
 * here + what was consumed and is not granted again = W. So at most W bytes of one body are ever
 * held. */
#ifndef PIPEGATE_FLOW_H
#define PIPEGATE_FLOW_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Initialise with flow_init(). Private but for `send_bytes`, which may be read: bytes that the
 * peer still accepts. */
struct flow {
	int64_t send_bytes;
	int64_t receive_bytes;
	int64_t consumed_bytes;
};

/* Both windows of a new stream: the peer's, from its HELLO, and ours. */
void flow_init(struct flow *f, int64_t send_window_bytes, int64_t receive_window_bytes);

/* How many of `bytes` waiting body bytes the next frame may hold: at most FRAME_DATA_BYTES, and
 * the peer's window. */
size_t flow_piece_bytes(const struct flow *f, size_t bytes);
void flow_sent(struct flow *f, size_t bytes);

/* The payload of a WINDOW frame. False: it is no number, or the window exceeds what 31 bits
 * hold. */
bool flow_on_window(struct flow *f, const uint8_t *payload, size_t bytes) MUST_CHECK;

/* Body bytes have arrived. False: more than was granted. */
bool flow_received(struct flow *f, size_t bytes) MUST_CHECK;

/* Body bytes were handed on. Call flow_grant() then, or later. */
void flow_consumed(struct flow *f, size_t bytes);

/* How much to grant the peer now, by a WINDOW frame; 0: nothing yet. Consumed bytes are granted
 * again in lots of a quarter of the window, so that WINDOW frames are few. `window_bytes` may
 * change from call to call: a smaller one holds grants back until the peer's window and
 * `held_bytes`, together, are below it. */
uint32_t flow_grant(struct flow *f, int64_t window_bytes, size_t held_bytes);

#endif
