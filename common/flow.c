/* common/flow.c - see flow.h. */
#include "common/flow.h"

#include "common/bytes.h"
#include "common/frame.h"

enum {
	/* A shorter round trip counts as this one, and is too short for large windows: on a near
	 * path a sender waits for the turns of the programs, and twice the first window is enough
	 * for them. */
	RTT_LEAST_MS = 2,
	NEAR_WINDOWS_MAX = 2,
	/* A window that was used little over so many round trips halves. */
	SHRINK_ROUND_TRIPS = 4,
};

void flow_init(struct flow *f, int64_t send_window_bytes, int64_t receive_window_bytes)
{
	*f = (struct flow){
		.send_bytes = send_window_bytes,
		.window_bytes = receive_window_bytes,
		.least_bytes = receive_window_bytes,
		.receive_bytes = receive_window_bytes,
	};
}

size_t flow_piece_bytes(const struct flow *f, size_t bytes)
{
	if (bytes > FRAME_DATA_BYTES)
		bytes = FRAME_DATA_BYTES;
	return (int64_t)bytes <= f->send_bytes ? bytes : (size_t)f->send_bytes;
}

void flow_sent(struct flow *f, size_t bytes)
{
	f->send_bytes -= (int64_t)bytes;
}

bool flow_on_window(struct flow *f, const uint8_t *payload, size_t bytes)
{
	if (bytes != 4 || (int64_t)get_be32(payload) > INT32_MAX - f->send_bytes)
		return false;
	f->send_bytes += get_be32(payload);
	return true;
}

bool flow_received(struct flow *f, size_t bytes)
{
	if ((int64_t)bytes > f->receive_bytes)
		return false;
	f->receive_bytes -= (int64_t)bytes;
	return true;
}

/* --- the size of the window --- */

static void start_round(struct flow *f, int64_t now_ms)
{
	f->round_ms = now_ms;
	f->round_bytes = 0;
}

static int64_t largest_window_bytes(const struct flow *f, int64_t rtt_ms)
{
	if (rtt_ms == 0)
		return 0; /* not known: it does not grow */
	return rtt_ms < RTT_LEAST_MS ? NEAR_WINDOWS_MAX * f->least_bytes : FLOW_WINDOW_MAX_BYTES;
}

bool flow_consumed(struct flow *f, size_t bytes, size_t held_bytes, int64_t now_ms, int64_t rtt_ms)
{
	int64_t took_ms = now_ms - f->round_ms;
	int64_t largest_bytes = largest_window_bytes(f, rtt_ms);
	bool grow = false;

	if (rtt_ms > 0 && rtt_ms < RTT_LEAST_MS)
		rtt_ms = RTT_LEAST_MS;
	if (f->round_ms == 0)
		start_round(f, now_ms);
	else if (rtt_ms > 0 && took_ms >= SHRINK_ROUND_TRIPS * rtt_ms &&
		 f->round_bytes * rtt_ms < f->window_bytes / 4 * took_ms) {
		if (f->window_bytes / 2 >= f->least_bytes)
			f->window_bytes /= 2;
		start_round(f, now_ms);
	}
	f->round_bytes += (int64_t)bytes;
	if (f->round_bytes >= f->window_bytes) {
		grow = 2 * f->window_bytes <= largest_bytes &&
		       2 * (now_ms - f->round_ms) <= 3 * rtt_ms &&
		       (int64_t)held_bytes <= f->window_bytes / 2;
		start_round(f, now_ms);
	}
	return grow;
}

int64_t flow_growth_bytes(const struct flow *f)
{
	return f->window_bytes;
}

void flow_grow(struct flow *f)
{
	f->window_bytes += flow_growth_bytes(f);
}

uint32_t flow_grant(struct flow *f, int64_t limit_bytes, size_t held_bytes)
{
	int64_t window_bytes = f->window_bytes < limit_bytes ? f->window_bytes : limit_bytes;
	int64_t grant_bytes = window_bytes - f->receive_bytes - (int64_t)held_bytes;

	if (grant_bytes < window_bytes / 4)
		return 0;
	f->receive_bytes += grant_bytes;
	return (uint32_t)grant_bytes;
}

void flow_end(struct flow *f)
{
	f->receive_bytes = 0;
	f->window_bytes = f->least_bytes;
}

bool flow_is_used(const struct flow *f)
{
	return f->least_bytes > 0;
}

int64_t flow_extra_bytes(const struct flow *f, size_t held_bytes)
{
	int64_t granted_bytes = f->receive_bytes + (int64_t)held_bytes;
	int64_t most_bytes = granted_bytes > f->window_bytes ? granted_bytes : f->window_bytes;

	return most_bytes - f->least_bytes;
}
