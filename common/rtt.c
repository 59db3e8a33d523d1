/* common/rtt.c - see rtt.h. */
#include "common/rtt.h"

#include "common/bytes.h"

#include <string.h>

enum {
	START_INTERVAL_MS = 30000,
	BULK_INTERVAL_MS = 1000,
	/* No window was in use for this long: the queue of the path is empty. */
	QUIET_MS = 1000,
};

static void put_number(uint8_t payload[FRAME_PING_BYTES], uint64_t number)
{
	put_be32(payload, (uint32_t)(number >> 32));
	put_be32(payload + 4, (uint32_t)number);
}

bool rtt_ping(struct rtt *r, int64_t now_ms, enum rtt_occasion occasion,
	      uint8_t payload[FRAME_PING_BYTES])
{
	bool bulk = occasion == RTT_BULK;
	bool quiet = r->bulk_ms == 0 || now_ms - r->bulk_ms >= QUIET_MS;
	int64_t interval_ms = bulk ? BULK_INTERVAL_MS : START_INTERVAL_MS;

	if (bulk)
		r->bulk_ms = now_ms;
	if (r->outstanding || (r->has_sent && now_ms - r->sent_ms < interval_ms))
		return false;
	r->has_sent = r->outstanding = true;
	r->fresh = r->least_ms == 0 || (quiet && !bulk);
	r->sent_ms = now_ms;
	put_number(payload, ++r->number);
	return true;
}

static void on_pong(struct rtt *r, int64_t now_ms, const uint8_t *payload)
{
	uint8_t expected[FRAME_PING_BYTES];
	int64_t ms = now_ms > r->sent_ms ? now_ms - r->sent_ms : 1;

	put_number(expected, r->number);
	if (!r->outstanding || memcmp(payload, expected, sizeof expected) != 0)
		return;
	r->outstanding = false;
	if (r->fresh || ms < r->least_ms)
		r->least_ms = ms;
}

void rtt_on_frame(struct rtt *r, int64_t now_ms, const struct frame *f)
{
	if (f->stream != 0 || f->payload_bytes != FRAME_PING_BYTES)
		return;
	if (f->type == FRAME_PONG)
		on_pong(r, now_ms, f->payload);
	if (f->type != FRAME_PING)
		return;
	memcpy(r->pong, f->payload, FRAME_PING_BYTES);
	r->pong_due = true;
}

bool rtt_take_pong(struct rtt *r, uint8_t payload[FRAME_PING_BYTES])
{
	if (!r->pong_due)
		return false;
	memcpy(payload, r->pong, FRAME_PING_BYTES);
	r->pong_due = false;
	return true;
}
