/* Tunnel protocol v2, broker's side: flow control, ends, and clients that break the rules. */
#include "tests/fuzz/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* after those that it needs */
#include <cmocka.h>

#define INSTANCE "0123456789abcdef0123456789abcdef"

static struct world w;
static struct head get;

static void forget_sent(size_t slot)
{
	buf_consume(&w.sockets[slot].sent, buf_bytes(&w.sockets[slot].sent));
}

/* A tunnel for "a" whose window is the smallest. */
static int set_up(void **state)
{
	(void)state;
	world_init(&w);
	world_request(&get, "POST", "/");
	world_connect(&w, 0, &protocol_v2, "a");
	world_hello(&w, 0, "100", "65536", INSTANCE);
	world_settle(&w);
	forget_sent(0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	world_fini(&w);
	head_fini(&get);
	return 0;
}

static void open(size_t peer)
{
	world_open(&w, peer, "a", &get, GATE_BODY_END, 0);
	world_settle(&w);
}

/* How many frames of that type went down; *body_bytes in OPEN and DATA. */
static size_t count_sent(enum frame_type type, size_t *body_bytes)
{
	struct buf *sent = &w.sockets[0].sent;
	struct frame f;
	size_t count = 0, used;

	*body_bytes = 0;
	while (buf_bytes(sent) > 0) {
		const uint8_t *head, *body;
		size_t head_bytes, bytes;
		assert_int_equal(frame_get(buf_first(sent), buf_bytes(sent), &f, &used), 1);
		count += f.type == type;
		if (f.type == FRAME_DATA)
			*body_bytes += f.payload_bytes;
		if (f.type == FRAME_OPEN) {
			assert_true(frame_split_head(&f, &head, &head_bytes, &body, &bytes));
			*body_bytes += bytes;
		}
		buf_consume(sent, used);
	}
	return count;
}

static size_t sent_frames(enum frame_type type)
{
	size_t body_bytes;

	return count_sent(type, &body_bytes);
}

static size_t sent_body_bytes(void)
{
	size_t body_bytes;

	count_sent(FRAME_DATA, &body_bytes);
	return body_bytes;
}

static void expect_failure(size_t peer, enum fail f, uint8_t flags)
{
	const struct world_peer *p = &w.peers[peer];

	world_settle(&w);
	assert_false(p->waiting);
	if (p->last.fail != f || p->last.flags != (GATE_FAILED | flags))
		fail_msg("%s, flags %u", fail_code((enum fail)p->last.fail), p->last.flags);
}

/* The exchange fails as bad-response, its stream is reset, and the tunnel lives on. */
static void expect_bad_response(size_t peer)
{
	expect_failure(peer, FAIL_BAD_RESPONSE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	assert_int_equal(sent_frames(FRAME_RESET), 1);
	assert_int_equal(w.sockets[0].tunnel->state, TUNNEL_OPEN);
}

static void expect_closed(int code)
{
	assert_true(w.sockets[0].closing);
	assert_int_equal(w.sockets[0].close_code, code);
}

static void test_greeting(void **state)
{
	static const uint8_t cut[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0};
	static const uint8_t long_one[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1};
	struct head old = {0};

	(void)state;
	world_disconnect(&w, 0);
	world_connect(&w, 0, &protocol_v2, "a");
	world_settle(&w);
	assert_int_equal(sent_frames(FRAME_HELLO),
			 1); /* the broker does not wait for the client's */
	head_add(&old, "version", "1");
	world_receive_frame(&w, 0, FRAME_HELLO, 0, 0, old.data, old.bytes);
	expect_closed(1002);
	head_fini(&old);

	world_disconnect(&w, 0);
	world_connect(&w, 0, &protocol_v2, "a");
	world_receive_frame(&w, 0, FRAME_GOAWAY, 0, 0, NULL, 0);
	expect_closed(1002);

	world_disconnect(&w, 0);
	world_connect(&w, 0, &protocol_v2, "a");
	world_receive(&w, 0, cut, sizeof cut);
	expect_closed(1002);

	world_disconnect(&w, 0);
	world_connect(&w, 0, &protocol_v2, "a");
	world_receive(&w, 0, long_one, sizeof long_one);
	expect_closed(1002);

	world_disconnect(&w, 0);
	world_connect(&w, 0, &protocol_v2, "a");
	world_later(&w, 9000);
	assert_false(w.sockets[0].closing);
	world_later(&w, 2000); /* says nothing: closed and gone */
	assert_null(w.sockets[0].tunnel);
}

static void test_no_requests_before_the_greeting(void **state)
{
	(void)state;
	/* A name never seen would be refused by now: a token makes it known. */
	world_later(&w, 60000);
	world_connect(&w, 1, &protocol_v2, "b");
	world_open(&w, 0, "b", &get, GATE_BODY_END, 0);
	world_settle(&w);
	assert_int_equal(w.hub->stats.queued, 1);
	world_hello(&w, 1, "100", "65536", "");
	world_settle(&w);
	assert_int_equal(w.hub->stats.running, 1);
}

static void test_max_streams(void **state)
{
	(void)state;
	w.config.max_concurrent = 100;
	world_connect(&w, 1, &protocol_v2, "b");
	world_hello(&w, 1, "1", "65536", "");
	for (size_t i = 0; i < 2; i++)
		world_open(&w, i, "b", &get, GATE_BODY_END, 0);
	world_settle(&w);
	assert_int_equal(w.hub->stats.running, 1);
	assert_int_equal(w.hub->stats.queued, 1);
}

static void test_upload_keeps_to_the_window(void **state)
{
	(void)state;
	world_open(&w, 0, "a", &get, 0, 65536);
	world_settle(&w);
	assert_int_equal(sent_body_bytes(), 65536);
	assert_int_equal(w.peers[0].last.number, 196608); /* there is room for more here */
	world_step(&w, 0, GATE_STEP, 0, 10000, 65536);
	world_settle(&w);
	assert_int_equal(sent_body_bytes(), 0);
	assert_int_equal(w.peers[0].last.number, 196608);
	world_receive_frame(&w, 0, FRAME_WINDOW, 0, 1, "\0\0\0\1", 4);
	world_settle(&w);
	assert_int_equal(sent_body_bytes(), 1);
	world_receive_frame(&w, 0, FRAME_WINDOW, 0, 1, "\0\1\0\0", 4);
	world_settle(&w);
	assert_int_equal(sent_body_bytes(), 65535);
	world_step(&w, 0, GATE_STEP, GATE_BODY_END, 10000, 0);
	world_settle(&w);
	assert_int_equal(sent_frames(FRAME_DATA), 1); /* END */
}

static void test_window_out_of_range(void **state)
{
	(void)state;
	open(0);
	forget_sent(0);
	world_receive_frame(&w, 0, FRAME_WINDOW, 0, 1, "\x7f\xff\xff\xff", 4);
	expect_bad_response(0);
	open(1);
	forget_sent(0);
	world_receive_frame(&w, 0, FRAME_WINDOW, 0, 2, "\0\0\1", 3);
	expect_bad_response(1);
}

/* Streams take turns, a piece of 16 KiB each. */
static void test_fairness(void **state)
{
	static const uint32_t order[] = {1, 2, 1, 2, 1, 2, 1, 2};
	struct frame f;
	size_t used;

	(void)state;
	w.sockets[0].blocked = true;
	world_open(&w, 0, "a", &get, GATE_BODY_END, 65536);
	world_open(&w, 1, "a", &get, GATE_BODY_END, 65536);
	world_settle(&w);
	w.sockets[0].blocked = false;
	world_flush(&w.sockets[0]);
	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
		struct buf *sent = &w.sockets[0].sent;
		assert_int_equal(frame_get(buf_first(sent), buf_bytes(sent), &f, &used), 1);
		assert_int_equal(f.stream, order[i]);
		assert_int_equal(f.type, i < 2 ? FRAME_OPEN : FRAME_DATA);
		assert_int_equal(f.flags, i < 6 ? 0 : FRAME_END);
		buf_consume(sent, used);
	}
}

static void test_a_small_request_goes_ahead_of_uploads(void **state)
{
	static const uint32_t order[] = {3, 1, 2, 1, 2};
	static uint8_t out[TUNNEL_PULL_BYTES];
	struct frame f;
	bool first, final;
	size_t bytes, used = 0;

	(void)state;
	w.sockets[0].blocked = true;
	w.sockets[0].tunnel->max_running = 3;
	world_open(&w, 0, "a", &get, GATE_BODY_END, 65536);
	world_open(&w, 1, "a", &get, GATE_BODY_END, 65536);
	world_settle(&w);
	bytes = tunnel_pull(w.sockets[0].tunnel, out, &first, &final);
	assert_in_range(bytes, 4 * FRAME_DATA_BYTES, 5 * FRAME_DATA_BYTES);
	world_open(&w, 2, "a", &get, GATE_BODY_END, 10);
	world_settle(&w);
	bytes = tunnel_pull(w.sockets[0].tunnel, out, &first, &final);
	for (size_t i = 0, at = 0; at < bytes; i++, at += used) {
		assert_true(i < sizeof order / sizeof order[0]);
		assert_int_equal(frame_get(out + at, bytes - at, &f, &used), 1);
		assert_int_equal(f.stream, order[i]);
	}
	w.sockets[0].blocked = false;
}

static void test_download_grants_what_was_taken(void **state)
{
	static uint8_t data[65536];

	(void)state;
	open(0);
	world_answer(&w, 0, 0, 1, "", 0);
	world_settle(&w);
	forget_sent(0);
	for (int i = 0; i < 4; i++) {
		world_receive_frame(&w, 0, FRAME_DATA, 0, 1, data, sizeof data);
		world_settle(&w);
		assert_int_equal(sent_frames(FRAME_WINDOW), 0);
	}
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	assert_int_equal(w.peers[0].last.body_bytes, GATE_PIECE_BYTES);
	assert_int_equal(sent_frames(FRAME_WINDOW), 1);
}

/* The app sends so many bytes, and the responder asks for what is there. True: it has its reply. */
static bool gives(size_t bytes)
{
	static uint8_t data[65536];

	for (size_t some; bytes > 0; bytes -= some) {
		some = bytes < sizeof data ? bytes : sizeof data;
		world_receive_frame(&w, 0, FRAME_DATA, 0, 1, data, some);
	}
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	return !w.peers[0].waiting;
}

static void more_comes(size_t bytes, uint8_t flags)
{
	static uint8_t data[65536];

	world_receive_frame(&w, 0, FRAME_DATA, flags, 1, data, bytes);
	world_settle(&w);
}

static void test_large_pieces_are_gathered(void **state)
{
	(void)state;
	open(0);
	world_answer(&w, 0, 0, 1, "", 0);
	world_settle(&w);
	assert_true(gives(16 * 1024 - 1)); /* small ones never wait */
	assert_true(gives(16 * 1024));
	assert_false(gives(60 * 1024)); /* behind a large one, they do */
	assert_int_equal(hub_settle_due_ms(w.hub), w.hub->now_ms + 2);
	more_comes(60 * 1024, 0);
	assert_true(w.peers[0].waiting);
	more_comes(8 * 1024, 0); /* 128 KiB are enough */
	assert_false(w.peers[0].waiting);
	assert_int_equal(w.peers[0].last.body_bytes, 128 * 1024);
	assert_int_equal(hub_settle_due_ms(w.hub), 0);

	assert_false(gives(1000)); /* 2 ms are enough */
	hub_set_now(w.hub, w.hub->now_ms + 1);
	world_settle(&w);
	assert_true(w.peers[0].waiting);
	hub_set_now(w.hub, w.hub->now_ms + 1);
	world_settle(&w);
	assert_false(w.peers[0].waiting);
	assert_int_equal(w.peers[0].last.body_bytes, 1000);
	assert_true(gives(1000)); /* that was a small one */
}

/* Neither the end nor a failure waits. */
static void test_a_gathered_exchange_ends(void **state)
{
	(void)state;
	for (uint32_t stream = 1; stream <= 3; stream++) {
		static uint8_t data[20000];

		open(0);
		world_answer(&w, 0, 0, stream, "", 0);
		world_receive_frame(&w, 0, FRAME_DATA, 0, stream, data, sizeof data);
		world_settle(&w);
		if (w.peers[0].last.body_bytes == 0)
			world_step(&w, 0, GATE_STEP, 0, 10000, 0);
		world_settle(&w);
		assert_int_equal(w.peers[0].last.body_bytes, sizeof data);
		world_step(&w, 0, GATE_STEP, 0, 10000, 0);
		world_receive_frame(&w, 0, FRAME_DATA, 0, stream, data, 1);
		world_settle(&w);
		assert_true(w.peers[0].waiting);
		if (stream == 1)
			world_receive_frame(&w, 0, FRAME_DATA, FRAME_END, stream, data, 1);
		else if (stream == 2)
			world_receive_frame(&w, 0, FRAME_RESET, 0, stream, "\0\1", 2);
		else
			world_disconnect(&w, 0);
		world_settle(&w);
		assert_false(w.peers[0].waiting);
		assert_int_equal(hub_settle_due_ms(w.hub), 0);
		assert_int_equal(w.peers[0].last.body_bytes, stream == 1 ? 2 : 1);
		if (stream > 1) /* and then the failure */
			world_step(&w, 0, GATE_STEP, 0, 10000, 0);
		world_settle(&w);
		assert_true(w.peers[0].last.flags & (GATE_RESPONSE_END | GATE_FAILED));
	}
}

static void test_window_overdrawn(void **state)
{
	static uint8_t data[65536];

	(void)state;
	open(0);
	world_answer(&w, 0, 0, 1, "", 0);
	for (int i = 0; i < 4; i++)
		world_receive_frame(&w, 0, FRAME_DATA, 0, 1, data, sizeof data);
	world_settle(&w); /* the first piece is taken: as much may come again */
	assert_int_equal(w.peers[0].last.body_bytes, GATE_PIECE_BYTES);
	forget_sent(0);
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	for (size_t i = 0; i < GATE_PIECE_BYTES; i += sizeof data)
		world_receive_frame(&w, 0, FRAME_DATA, 0, 1, data, sizeof data);
	world_receive_frame(&w, 0, FRAME_DATA, 0, 1, data, 1);
	expect_bad_response(0);
}

/* What waits for it is bounded. */
static void test_a_client_that_reads_nothing(void **state)
{
	struct tunnel *t = w.sockets[0].tunnel;

	(void)state;
	w.sockets[0].blocked = true;
	for (size_t bytes = buf_bytes(&t->out); bytes + FRAME_HEADER_BYTES <= 1024 * 1024;
	     bytes += FRAME_HEADER_BYTES)
		tunnel_say_goodbye(t);
	world_settle(&w);
	assert_false(w.sockets[0].closing);
	tunnel_say_goodbye(t);
	hub_settle(w.hub);
	assert_true(w.sockets[0].closing);
	assert_int_equal(w.sockets[0].close_code, 1008);
	assert_string_equal(w.sockets[0].close_reason, "reads nothing");
}

static void test_impossible_frames(void **state)
{
	static const uint8_t no_head[] = {0, 0, 0, 0};
	static const uint8_t cut_head[] = {0, 0, 0, 9, 0, 1};
	static const uint8_t broken_head[] = {0, 0, 0, 2, 0, 1};
	static const struct {
		const uint8_t *payload;
		size_t bytes;
	} heads[] = {{no_head, 4}, {cut_head, 6}, {broken_head, 6}, {no_head, 3}, {NULL, 0}};

	(void)state;
	for (uint32_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		open(0);
		forget_sent(0);
		world_receive_frame(&w, 0, FRAME_HEAD, 0, i + 1, heads[i].payload, heads[i].bytes);
		expect_bad_response(0);
	}
	open(0);
	forget_sent(0);
	world_receive_frame(&w, 0, FRAME_DATA, 0, 6, "x", 1); /* before its head */
	expect_bad_response(0);

	open(0);
	forget_sent(0);
	world_answer(&w, 0, 0, 7, "", 0); /* twice */
	world_answer(&w, 0, 0, 7, "", 0);
	expect_bad_response(0);
}

static void test_frames_that_are_skipped(void **state)
{
	(void)state;
	open(0);
	forget_sent(0);
	world_answer(&w, 0, 0, 99, "", 0); /* no such stream */
	world_receive_frame(&w, 0, 77, 0xff, 1, "of a later version", 18);
	world_receive_frame(&w, 0, FRAME_HELLO, 0, 1, "again", 5);
	world_receive_frame(&w, 0, FRAME_OPEN, 0, 1, "", 0);
	world_answer(&w, 0, FRAME_END | 0xf0, 1, "ok", 2);
	world_receive_frame(&w, 0, FRAME_DATA, 0, 1, "after the end", 13);
	world_receive_frame(&w, 0, FRAME_RESET, 0, 1, "\x0a\1", 2);
	world_settle(&w);
	assert_int_equal(w.peers[0].last.flags, GATE_HAS_HEAD | GATE_RESPONSE_END);
	assert_int_equal(w.peers[0].last.body_bytes, 2);
	assert_int_equal(buf_bytes(&w.sockets[0].sent), 0);
}

static void test_resets(void **state)
{
	static const struct {
		const char *payload;
		size_t bytes;
		enum fail fail;
		uint8_t flags;
	} rows[] = {
		{"\x0a\0", 2, FAIL_TARGET_UNREACHABLE, GATE_ACCEPTED},
		{"\x0a\1", 2, FAIL_TARGET_UNREACHABLE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED},
		{"\x0c\1why", 5, FAIL_BAD_RESPONSE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED},
		{"\x0d\0", 2, FAIL_UNSUPPORTED, GATE_ACCEPTED},
		/* what a client may not say, and nothing at all */
		{"\x01\1", 2, FAIL_TARGET_UNREACHABLE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED},
		{"\xff\1", 2, FAIL_TARGET_UNREACHABLE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED},
		{"", 0, FAIL_TARGET_UNREACHABLE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED},
	};

	(void)state;
	for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		open(0);
		forget_sent(0);
		world_receive_frame(&w, 0, FRAME_RESET, 0, i + 1, rows[i].payload, rows[i].bytes);
		expect_failure(0, rows[i].fail, rows[i].flags);
		assert_int_equal(sent_frames(FRAME_RESET), 0); /* it is over there */
	}
	open(0);
	/* What came before it still goes to the caller. After the head the app has seen the
	 * request, whatever the client says. */
	world_answer(&w, 0, 0, 8, "some", 4);
	world_receive_frame(&w, 0, FRAME_RESET, 0, 8, "\x0a\0", 2);
	world_settle(&w);
	assert_int_equal(w.peers[0].last.flags, GATE_HAS_HEAD);
	assert_int_equal(w.peers[0].last.body_bytes, 4);
	world_step(&w, 0, GATE_STEP, 0, 0, 1000);
	expect_failure(0, FAIL_TARGET_UNREACHABLE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	/* but not to a responder that has given up, nor after a failure that is not the app's */
	open(0);
	world_answer(&w, 0, 0, 9, "some", 4);
	world_receive_frame(&w, 0, FRAME_RESET, 0, 9, "\x0c\1", 2);
	expect_failure(0, FAIL_BAD_RESPONSE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

static void test_early_answer(void **state)
{
	(void)state;
	world_open(&w, 0, "a", &get, 0, 1000);
	world_settle(&w);
	world_step(&w, 0, GATE_STEP, 0, 10000, 1000);
	world_answer(&w, 0, FRAME_END, 1, "no", 2);
	world_settle(&w);
	assert_int_equal(w.peers[0].last.flags, GATE_HAS_HEAD | GATE_RESPONSE_END);
	forget_sent(0);
	assert_false(hub_busy(w.hub));
}

static void test_goaway(void **state)
{
	(void)state;
	open(0);
	forget_sent(0);
	world_receive_frame(&w, 0, FRAME_GOAWAY, 0, 0, NULL, 0);
	world_receive_frame(&w, 0, FRAME_GOAWAY, 0, 0, NULL, 0);
	open(1);
	assert_int_equal(sent_frames(FRAME_GOAWAY), 1); /* answered once, and nothing new */
	assert_int_equal(w.hub->stats.queued, 1);
	world_answer(&w, 0, FRAME_END, 1, "", 0);
	world_settle(&w);
	assert_int_equal(w.peers[0].last.flags, GATE_HAS_HEAD | GATE_RESPONSE_END);
	world_connect(&w, 1, &protocol_v2, "a");
	world_hello(&w, 1, "100", "65536", "");
	world_settle(&w);
	assert_int_equal(w.hub->stats.running, 1);
}

static void test_same_instance_replaces(void **state)
{
	(void)state;
	open(0);
	world_connect(&w, 1, &protocol_v2, "b"); /* the same process for another id: no relation */
	world_hello(&w, 1, "100", "65536", INSTANCE);
	assert_false(w.sockets[0].closing);
	world_connect(&w, 2, &protocol_v2, "a");
	world_hello(&w, 2, "100", "65536", INSTANCE);
	expect_closed(1000);
	assert_string_equal(w.sockets[0].close_reason, "replaced");
	expect_failure(0, FAIL_TUNNEL_LOST, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

/* The peer answers the PING that came behind the HELLO after `ms`. */
static void answer_ping(int64_t ms)
{
	const struct rtt *r = &w.sockets[0].tunnel->v2.rtt;
	uint8_t payload[FRAME_PING_BYTES] = {0};

	assert_true(r->outstanding);
	put_be32(payload + 4, (uint32_t)r->number);
	hub_set_now(w.hub, w.hub->now_ms + ms);
	world_receive_frame(&w, 0, FRAME_PONG, 0, 0, payload, sizeof payload);
	assert_int_equal(r->least_ms, ms);
}

/* DATA as far as the window goes, each half of it a round trip after the one before. */
static void fill_windows(size_t peer, uint32_t stream, int count)
{
	static uint8_t data[128 * 1024];
	const struct exchange *x = exchange_find(w.hub, w.peers[peer].last.corr);

	for (int i = 0; i < count; i++) {
		while (x->v2.flow.receive_bytes > 0) {
			size_t bytes = (size_t)x->v2.flow.receive_bytes;
			bytes = bytes < sizeof data ? bytes : sizeof data;
			world_receive_frame(&w, 0, FRAME_DATA, 0, stream, data, bytes);
		}
		hub_set_now(w.hub, w.hub->now_ms + 50);
		do {
			world_step(&w, peer, GATE_STEP, 0, 10000, 0);
			world_settle(&w);
		} while (!w.peers[peer].waiting);
	}
}

static void test_windows_grow(void **state)
{
	(void)state;
	w.config.max_buffer_bytes_per_id = 64 << 20;
	w.hub->windows.total_bytes = 8 << 20;
	answer_ping(50);
	open(0);
	world_answer(&w, 0, 0, 1, "", 0);
	world_settle(&w);
	const struct exchange *x = exchange_find(w.hub, w.peers[0].last.corr);
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	fill_windows(0, 1, 10);
	assert_int_equal(x->v2.flow.window_bytes,
			 4 << 20); /* half of the budget, for the only id */
	assert_int_equal(w.hub->stats.window_bytes, (4 << 20) - FRAME_WINDOW_BYTES);
	assert_int_equal(w.sockets[0].tunnel->state, TUNNEL_OPEN);
}

static void test_windows_do_not_grow_without_a_round_trip(void **state)
{
	(void)state;
	w.config.max_buffer_bytes_per_id = 64 << 20;
	open(0);
	world_answer(&w, 0, 0, 1, "", 0);
	world_settle(&w);
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	fill_windows(0, 1, 10);
	assert_true(w.hub->windows.used_bytes == 0);
}

/* What is held of a response that has ended still counts. */
static void test_a_window_counts_until_it_is_read(void **state)
{
	(void)state;
	w.config.max_buffer_bytes_per_id = 64 << 20;
	w.hub->windows.total_bytes = 8 << 20;
	answer_ping(50);
	open(0);
	world_answer(&w, 0, 0, 1, "", 0);
	world_settle(&w);
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	fill_windows(0, 1, 3);
	const struct exchange *x = exchange_find(w.hub, w.peers[0].last.corr);
	size_t window = (size_t)x->v2.flow.window_bytes;
	assert_true(window >= 4 * FRAME_WINDOW_BYTES);
	uint8_t *data = xcalloc(1, 64 * 1024);
	while (x->v2.flow.receive_bytes > 0)
		world_receive_frame(&w, 0, FRAME_DATA, 0, 1, data,
				    (size_t)x->v2.flow.receive_bytes < 64 * 1024
					    ? (size_t)x->v2.flow.receive_bytes
					    : 64 * 1024);
	free(data);
	world_receive_frame(&w, 0, FRAME_DATA, FRAME_END, 1, "", 0);
	world_settle(&w);
	assert_true(w.hub->windows.used_bytes == (int64_t)buf_bytes(&x->down) - FRAME_WINDOW_BYTES);
	while (buf_bytes(&x->down) > FRAME_WINDOW_BYTES) {
		world_step(&w, 0, GATE_STEP, 0, 10000, 0);
		world_settle(&w);
	}
	assert_true(w.hub->windows.used_bytes == 0);
}

static void test_pings_are_answered(void **state)
{
	static uint8_t many[5000 * (FRAME_HEADER_BYTES + FRAME_PING_BYTES)];
	size_t one = FRAME_HEADER_BYTES + FRAME_PING_BYTES;

	(void)state;
	for (size_t at = 0; at < sizeof many; at += one)
		frame_put_header(many + at, FRAME_PING, 0, 0, FRAME_PING_BYTES);
	world_receive(&w, 0, many, sizeof many);
	world_settle(&w);
	assert_int_equal(sent_frames(FRAME_PONG), 1);
	world_receive_frame(&w, 0, FRAME_PING, 0, 0, "1234567", 7);
	world_receive_frame(&w, 0, FRAME_PING, 0, 1, "12345678", 8);
	world_receive_frame(&w, 0, FRAME_PONG, 0, 0, "12345678", 8);
	world_settle(&w);
	assert_int_equal(sent_frames(FRAME_PONG), 0);
	assert_int_equal(w.sockets[0].tunnel->v2.rtt.least_ms, 0);
	assert_int_equal(w.sockets[0].tunnel->state, TUNNEL_OPEN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_greeting),
		TEST(test_no_requests_before_the_greeting),
		TEST(test_max_streams),
		TEST(test_upload_keeps_to_the_window),
		TEST(test_window_out_of_range),
		TEST(test_fairness),
		TEST(test_a_small_request_goes_ahead_of_uploads),
		TEST(test_download_grants_what_was_taken),
		TEST(test_large_pieces_are_gathered),
		TEST(test_a_gathered_exchange_ends),
		TEST(test_window_overdrawn),
		TEST(test_windows_grow),
		TEST(test_windows_do_not_grow_without_a_round_trip),
		TEST(test_a_window_counts_until_it_is_read),
		TEST(test_pings_are_answered),
		TEST(test_a_client_that_reads_nothing),
		TEST(test_impossible_frames),
		TEST(test_frames_that_are_skipped),
		TEST(test_resets),
		TEST(test_early_answer),
		TEST(test_goaway),
		TEST(test_same_instance_replaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
