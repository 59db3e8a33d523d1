/* Flow control of one v2 stream under any sequence of events, held against the numbers of a
 * naive model. */
#include "common/flow.h"
#include "common/frame.h"
#include "tests/fuzz/fuzz.h"

struct model {
	struct flow flow;
	int64_t sendable, granted, received, consumed; /* since the start, in bytes */
	int64_t now_ms, most;			       /* the largest window so far */
	size_t held;
};

static void on_window(struct model *m, struct input *in)
{
	size_t bytes;
	const uint8_t *payload = input_take(in, input_byte(in) % 6, &bytes);
	uint8_t *copy = copy_of(payload, bytes);
	bool good = flow_on_window(&m->flow, copy, bytes);

	if (good)
		m->sendable += get_be32(copy);
	CHECK(!good || bytes == 4);
	free(copy);
}

static void send(struct model *m, struct input *in)
{
	size_t waiting = input_number(in) * 8, bytes = flow_piece_bytes(&m->flow, waiting);

	CHECK(bytes <= waiting && bytes <= FRAME_DATA_BYTES && (int64_t)bytes <= m->sendable);
	CHECK(bytes > 0 || waiting == 0 || m->sendable == 0);
	flow_sent(&m->flow, bytes);
	m->sendable -= (int64_t)bytes;
}

static void receive(struct model *m, struct input *in)
{
	size_t bytes = input_number(in) * 8;
	bool fits = m->received + (int64_t)bytes <= m->granted;

	CHECK(flow_received(&m->flow, bytes) == fits);
	m->received += fits ? (int64_t)bytes : 0;
	m->held += fits ? bytes : 0;
}

static void consume(struct model *m, struct input *in)
{
	static const int64_t limits[] = {INT64_MAX, FRAME_WINDOW_BYTES / 4};
	size_t bytes = input_number(in) * 8;
	uint8_t how = input_byte(in);
	int64_t before = m->flow.window_bytes;

	bytes = bytes < m->held ? bytes : m->held;
	m->now_ms += how >> 3;
	m->held -= bytes;
	m->consumed += (int64_t)bytes;
	bool grow = flow_consumed(&m->flow, bytes, m->held, m->now_ms, how & 2 ? 20 : 0);
	CHECK(!grow || ((how & 2) && m->flow.window_bytes == before));
	if (grow && (how & 4))
		flow_grow(&m->flow);
	int64_t window = m->flow.window_bytes;
	CHECK(window >= FRAME_WINDOW_BYTES && window <= FLOW_WINDOW_MAX_BYTES);
	CHECK(window == before || window == 2 * before || 2 * window == before);
	m->most = window > m->most ? window : m->most;
	window = window < limits[how & 1] ? window : limits[how & 1];
	uint32_t grant = flow_grant(&m->flow, limits[how & 1], m->held);
	CHECK(grant == 0 || grant >= window / 4);
	m->granted += grant;
	CHECK(m->granted <= m->most + m->consumed);
	CHECK(grant == 0 || m->granted - m->received + (int64_t)m->held <= window);
	int64_t extra = flow_extra_bytes(&m->flow, m->held);
	CHECK(extra >= m->flow.window_bytes - FRAME_WINDOW_BYTES &&
	      extra <= m->most - FRAME_WINDOW_BYTES);
	CHECK(m->granted - m->received + (int64_t)m->held <= FRAME_WINDOW_BYTES + extra);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	struct model m = {.sendable = 65536,
			  .granted = FRAME_WINDOW_BYTES,
			  .now_ms = 1,
			  .most = FRAME_WINDOW_BYTES};

	flow_init(&m.flow, 65536, FRAME_WINDOW_BYTES);
	while (in.left > 0) {
		static void (*const steps[])(struct model *, struct input *) = {on_window, send,
										receive, consume};
		steps[input_byte(&in) % 4](&m, &in);
		CHECK(m.flow.send_bytes == m.sendable && m.sendable >= 0 &&
		      m.sendable <= INT32_MAX);
		CHECK((int64_t)m.held <= m.most);
	}
	return 0;
}
