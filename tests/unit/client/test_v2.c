/* Tunnel protocol v2, client's side: a stand-in for the app, and brokers that break the rules. */
#include "client/session.h"
#include "common/frame.h"
#include "common/head.h"
#include "tests/fuzz/fetch_stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* after those that it needs */
#include <cmocka.h>

static void *session;
static int closed_code;
static struct window_budget windows;
static int64_t now_ms;

static int64_t clock_of_test(void *ctx)
{
	(void)ctx;
	return now_ms;
}

static void on_close(void *ctx, int code, const char *reason)
{
	(void)ctx;
	(void)reason;
	assert_int_equal(closed_code, 0);
	closed_code = code;
}

static void receive(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t bytes)
{
	uint8_t *frame = xmalloc(FRAME_HEADER_BYTES + bytes);

	frame_put_header(frame, type, flags, stream, bytes);
	if (bytes > 0)
		memcpy(frame + FRAME_HEADER_BYTES, payload, bytes);
	session_v2.receive(session, frame, FRAME_HEADER_BYTES + bytes);
	free(frame);
}

static void receive_hello(const char *version, const char *window)
{
	struct head h = {0};

	head_add(&h, "version", version);
	head_add(&h, "window", window);
	receive(FRAME_HELLO, 0, 0, h.data, h.bytes);
	head_fini(&h);
}

/* OPEN of a POST, with so many zeros of its body. */
static void receive_open(uint32_t stream, uint8_t flags, size_t body_bytes, const char *upgrade)
{
	struct head h = {0};

	head_add(&h, ":method", "POST");
	head_add(&h, ":target", "/");
	if (upgrade != NULL)
		head_add(&h, ":upgrade", upgrade);
	uint8_t *payload = xcalloc(1, 4 + h.bytes + body_bytes);
	put_be32(payload, (uint32_t)h.bytes);
	memcpy(payload + 4, h.data, h.bytes);
	receive(FRAME_OPEN, flags, stream, payload, 4 + h.bytes + body_bytes);
	free(payload);
	head_fini(&h);
}

/* What the client has sent since: the last frame of that type, and how many body bytes. */
struct sent {
	size_t frames, body_bytes;
	struct frame last;
	uint8_t payload[16]; /* the beginning of its payload */
};

static struct sent sent(uint8_t type)
{
	static uint8_t out[SESSION_PULL_BYTES];
	struct sent s = {0};
	bool first, final;
	size_t bytes, used;

	session_v2.resume(session);
	while ((bytes = session_v2.pull(session, out, &first, &final)) > 0) {
		assert_true(first && final);
		for (const uint8_t *at = out; bytes > 0; at += used, bytes -= used) {
			struct frame f;
			const uint8_t *head, *body;
			size_t head_bytes, body_bytes = 0;
			assert_int_equal(frame_get(at, bytes, &f, &used), 1);
			if (f.type == FRAME_HEAD)
				assert_true(frame_split_head(&f, &head, &head_bytes, &body,
							     &body_bytes));
			s.body_bytes += f.type == FRAME_DATA ? f.payload_bytes : body_bytes;
			if (f.type != type)
				continue;
			s.frames++;
			s.last = f;
			memcpy(s.payload, f.payload, f.payload_bytes < 16 ? f.payload_bytes : 16);
		}
	}
	return s;
}

/* A session that has been greeted, for a broker whose window is the smallest. */
static int set_up(void **state)
{
	static const struct session_socket socket = {
		.close = on_close, .instance = "i", .now_ms = clock_of_test, .windows = &windows};

	(void)state;
	closed_code = 0;
	now_ms = 1000;
	windows = (struct window_budget){.total_bytes = 64 << 20};
	session = session_v2.open(NULL, &socket);
	receive_hello("2", "65536");
	return 0;
}

static int set_up_greeted(void **state)
{
	set_up(state);
	assert_int_equal(sent(FRAME_HELLO).frames, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	session_v2.free(session);
	assert_int_equal(stub_fetch_count, 0);
	assert_true(windows.used_bytes == 0);
	return 0;
}

static void expect_reset(uint32_t stream, enum fail f, bool maybe_delivered)
{
	struct sent s = sent(FRAME_RESET);

	assert_int_equal(s.frames, 1);
	assert_int_equal(s.last.stream, stream);
	assert_int_equal(s.payload[0], f);
	assert_int_equal(s.payload[1], maybe_delivered);
}

/* The broker broke the rules of that stream, and nothing else ends. */
static void expect_misuse(uint32_t stream)
{
	expect_reset(stream, FAIL_BAD_RESPONSE, true);
	assert_int_equal(closed_code, 0);
	assert_int_equal(stub_fetch_count, 0);
	assert_true(session_v2.is_idle(session));
	receive_open(77, FRAME_END, 0, NULL);
	assert_int_equal(stub_fetch_count, 1);
	stub_end(stub_fetch(0), FAIL_NONE);
	assert_int_equal(sent(FRAME_HEAD).last.stream, 77);
}

static void test_greeting(void **state)
{
	static const struct session_socket socket = {
		.close = on_close, .instance = "i", .now_ms = clock_of_test, .windows = &windows};
	static const uint8_t rows[][13] = {
		{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, /* HELLO that is no head */
		{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},	 /* HELLO without a version */
		{7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},	 /* no HELLO */
		{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0}, /* cut */
		{1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0}, /* too long */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		session_v2.free(session);
		closed_code = 0;
		session = session_v2.open(NULL, &socket);
		session_v2.receive(session, rows[i], i == 1 || i == 2 ? 12 : 13);
		if (closed_code != 1002)
			fail_msg("row %zu: %d", i, closed_code);
		receive_hello("2", "65536"); /* nothing is taken any more */
		receive_open(1, FRAME_END, 0, NULL);
		assert_int_equal(stub_fetch_count, 0);
	}
	session_v2.free(session);
	closed_code = 0;
	session = session_v2.open(NULL, &socket);
	receive_hello("3", "65536");
	assert_int_equal(closed_code, 1002);
}

/* 4,096 streams of 256 KiB would be a gigabyte: 256 MiB are held for all. */
static void test_request_bodies_have_one_budget(void **state)
{
	static const uint8_t piece[120000];

	(void)state;
	windows.total_bytes = 0;
	for (uint32_t id = 1; id <= 1118; id++) {
		receive_open(id, 0, sizeof piece, NULL);
		receive(FRAME_DATA, 0, id, piece, sizeof piece);
	}
	assert_int_equal(stub_fetch_count, 1118);
	assert_int_equal(sent(FRAME_RESET).frames, 0);
	receive_open(1119, 0, sizeof piece, NULL);
	assert_int_equal(stub_fetch_count, 1118);
	expect_reset(1119, FAIL_OVERLOADED, false);
	assert_int_equal(stub_read_body(stub_fetch(0), 10000), 10000); /* makes room */
	receive_open(1121, 0, sizeof piece, NULL);
	assert_int_equal(stub_fetch_count, 1119);
	receive(FRAME_DATA, 0, 1121, piece, sizeof piece);
	assert_int_equal(stub_fetch_count, 1118);
	expect_reset(1121, FAIL_OVERLOADED, true);
	assert_int_equal(closed_code, 0);
}

static void test_small_exchange(void **state)
{
	(void)state;
	receive_open(1, FRAME_END, 0, NULL);
	assert_int_equal(stub_fetch_count, 1);
	assert_false(stub_fetch(0)->uploads);
	assert_true(stub_answer_data(stub_fetch(0), 5));
	stub_end(stub_fetch(0), FAIL_NONE);
	struct sent s = sent(FRAME_HEAD);
	assert_int_equal(s.frames, 1);
	assert_int_equal(s.last.stream, 1);
	assert_int_equal(s.last.flags, FRAME_END);
	assert_int_equal(s.body_bytes, 5);
	assert_true(session_v2.is_idle(session));
}

static void test_download_keeps_to_the_window(void **state)
{
	(void)state;
	receive_open(1, FRAME_END, 0, NULL);
	struct fetch *f = stub_fetch(0);
	for (int i = 0; i < 3; i++)
		assert_true(stub_answer_data(f, 16384));
	assert_false(stub_answer_data(f, 16384)); /* 64 KiB wait here: the app has to */
	assert_int_equal(sent(FRAME_DATA).body_bytes, 65536);
	session_v2.resume(session);
	assert_true(f->resumed);
	assert_true(stub_answer_data(f, 16384));
	assert_int_equal(sent(FRAME_DATA).body_bytes, 0);
	receive(FRAME_WINDOW, 0, 1, "\0\0\0\1", 4);
	assert_int_equal(sent(FRAME_DATA).body_bytes, 1);
	receive(FRAME_WINDOW, 0, 1, "\0\1\0\0", 4);
	stub_end(f, FAIL_NONE);
	struct sent s = sent(FRAME_DATA);
	assert_int_equal(s.body_bytes, 16383);
	assert_int_equal(s.last.flags, FRAME_END);
}

/* The stream of the first frame of the next message; *frames: how many it holds. */
static uint32_t first_stream(size_t *frames)
{
	static uint8_t out[SESSION_PULL_BYTES];
	bool first, final;
	size_t bytes = session_v2.pull(session, out, &first, &final), used;
	struct frame f;
	uint32_t stream = 0;

	*frames = 0;
	for (const uint8_t *at = out; bytes > 0; at += used, bytes -= used) {
		assert_int_equal(frame_get(at, bytes, &f, &used), 1);
		stream = *frames == 0 ? f.stream : stream;
		++*frames;
	}
	return stream;
}

static void test_a_small_response_goes_ahead_of_downloads(void **state)
{
	size_t frames;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		receive_open(1 + i, FRAME_END, 0, NULL);
		for (int k = 0; k < 3; k++)
			assert_true(stub_answer_data(stub_fetch(i), 16384));
	}
	(void)first_stream(&frames);
	assert_true(frames >= 4);
	receive_open(6, FRAME_END, 0, NULL);
	assert_true(stub_answer_data(stub_fetch(5), 10));
	stub_end(stub_fetch(5), FAIL_NONE);
	assert_int_equal(first_stream(&frames), 5); /* had nothing before either */
	assert_int_equal(frames, 5);		    /* 5, 1, 6, 2, 3 */
	assert_int_equal(first_stream(&frames), 4);
}

static void test_upload_grants_what_was_read(void **state)
{
	static uint8_t piece[65536];

	(void)state;
	receive_open(1, 0, 0, NULL);
	struct fetch *f = stub_fetch(0);
	assert_true(f->uploads);
	assert_int_equal(stub_read_body(f, 100), FETCH_WAIT);
	for (int i = 0; i < 4; i++)
		receive(FRAME_DATA, 0, 1, piece, sizeof piece);
	assert_true(sent(FRAME_WINDOW).frames == 0 && f->resumed);
	assert_int_equal(stub_read_body(f, 65535), 65535);
	assert_int_equal(sent(FRAME_WINDOW).frames, 0);
	assert_int_equal(stub_read_body(f, 1), 1);
	struct sent s = sent(FRAME_WINDOW);
	assert_int_equal(s.frames, 1);
	assert_memory_equal(s.payload, "\0\1\0\0", 4);
	receive(FRAME_DATA, 0, 1, piece, sizeof piece);
	assert_int_equal(closed_code, 0);
	receive(FRAME_DATA, 0, 1, piece, 1); /* one byte over what was granted */
	expect_misuse(1);
}

static void test_end_of_an_upload(void **state)
{
	(void)state;
	receive_open(1, 0, 3, NULL);
	struct fetch *f = stub_fetch(0);
	receive(FRAME_DATA, FRAME_END, 1, "xy", 2);
	assert_int_equal(stub_read_body(f, 100), 5);
	assert_int_equal(stub_read_body(f, 100), FETCH_END);
	receive(FRAME_DATA, FRAME_END, 1, "", 0); /* a second end says nothing new */
	assert_int_equal(closed_code, 0);
	receive(FRAME_DATA, 0, 1, "z", 1);
	expect_misuse(1);
}

static void test_window_out_of_range(void **state)
{
	(void)state;
	receive_open(1, FRAME_END, 0, NULL);
	receive(FRAME_WINDOW, 0, 1, "\x7f\xfe\xff\xff", 4); /* 2^31-1 in all */
	assert_int_equal(closed_code, 0);
	receive(FRAME_WINDOW, 0, 1, "\0\0\0\1", 4);
	expect_misuse(1);
}

static void test_short_window(void **state)
{
	(void)state;
	receive_open(1, FRAME_END, 0, NULL);
	receive(FRAME_WINDOW, 0, 1, "\0\0\1", 3);
	expect_misuse(1);
}

/* The app has answered, and the broker has not granted enough for the answer. */
static void test_misuse_behind_the_answer(void **state)
{
	static uint8_t piece[65536];

	(void)state;
	receive_open(1, 0, 0, NULL);
	(void)stub_answer_data(stub_fetch(0), 65536);
	(void)stub_answer_data(stub_fetch(0), 10);
	stub_end(stub_fetch(0), FAIL_NONE);
	assert_int_equal(sent(FRAME_DATA).body_bytes, 65536);
	for (int i = 0; i < 4; i++)
		receive(FRAME_DATA, 0, 1, piece, sizeof piece);
	assert_int_equal(sent(FRAME_RESET).frames, 0);
	receive(FRAME_DATA, 0, 1, piece, 1);
	receive(FRAME_DATA, 0, 1, piece, 1); /* more of it costs no second RESET */
	expect_misuse(1);
}

static void test_impossible_opens(void **state)
{
	static const struct {
		const char *payload;
		size_t bytes;
	} rows[] = {{"", 0}, {"\0\0\0", 3}, {"\0\0\0\x9", 4}, {"\0\0\0\2\0\1", 6}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		receive(FRAME_OPEN, FRAME_END, 1, rows[i].payload, rows[i].bytes);
		expect_reset(1, FAIL_BAD_REQUEST, false);
		assert_int_equal(closed_code, 0);
	}
	receive_open(0, FRAME_END, 0, NULL);
	assert_int_equal(closed_code, 1002);
	tear_down(state);
	set_up_greeted(state);
	receive_open(1, FRAME_END, 0, NULL);
	receive_open(1, FRAME_END, 0, NULL); /* both are meant */
	expect_misuse(1);
	receive(FRAME_OPEN, FRAME_END, 1, "\0\0\0\0", 4); /* a head, but none that can be sent */
	expect_reset(1, FAIL_BAD_REQUEST, false);
	assert_int_equal(closed_code, 0);
}

static void test_upgrade(void **state)
{
	(void)state;
	receive_open(2, 0, 0, "websocket");
	assert_int_equal(sent(FRAME_RESET).frames, 0);
	assert_int_equal(stub_fetch_count, 1); /* at the stand-in for client/app_websocket.c */
	stub_answer_head(stub_fetch(0));
	assert_int_equal(sent(FRAME_HEAD).frames, 1);
	receive(FRAME_RESET, 0, 2, "\xf\1", 2);
	assert_int_equal(stub_fetch_count, 0);
}

static void test_frames_that_are_skipped(void **state)
{
	(void)state;
	receive(FRAME_DATA, 0, 9, "x", 1);
	receive(FRAME_WINDOW, 0, 9, "", 0);
	receive(FRAME_RESET, 0, 9, "", 0);
	receive(99, 0xff, 0, "of a later version", 18);
	receive_hello("3", "1"); /* a second one */
	receive_open(1, FRAME_END, 0, NULL);
	receive(99, 0xff, 1, "of a later version", 18);
	receive(FRAME_HEAD, 0, 1, "", 0);
	assert_int_equal(closed_code, 0);
	assert_int_equal(stub_fetch_count, 1);
}

static void test_cancelled(void **state)
{
	(void)state;
	receive_open(1, 0, 0, NULL);
	(void)stub_answer_data(stub_fetch(0), 1000);
	receive(FRAME_RESET, 0, 1, "\x0f\1", 2);
	assert_int_equal(stub_fetch_count, 0); /* the connection to the app is closed */
	assert_int_equal(sent(FRAME_HEAD).frames, 0);
	assert_true(session_v2.is_idle(session));
}

static void test_failures(void **state)
{
	(void)state;
	receive_open(1, FRAME_END, 0, NULL);
	stub_end(stub_fetch(0), FAIL_TARGET_UNREACHABLE);
	expect_reset(1, FAIL_TARGET_UNREACHABLE, true);
	receive_open(2, FRAME_END, 0, NULL);
	(void)stub_answer_data(stub_fetch(0), 10);
	assert_int_equal(sent(FRAME_HEAD).body_bytes, 10);
	stub_end(stub_fetch(0), FAIL_BAD_RESPONSE); /* after the head */
	expect_reset(2, FAIL_BAD_RESPONSE, true);
	assert_true(session_v2.is_idle(session));
}

static void test_early_answer(void **state)
{
	(void)state;
	receive_open(1, 0, 100, NULL);
	stub_end(stub_fetch(0), FAIL_NONE);
	assert_int_equal(sent(FRAME_HEAD).last.flags, FRAME_END);
	receive(FRAME_DATA, FRAME_END, 1, "what was still under way", 24);
	assert_int_equal(closed_code, 0);
	assert_true(session_v2.is_idle(session));
}

static void test_goodbye(void **state)
{
	(void)state;
	session_v2.drain(session);
	session_v2.drain(session);
	assert_int_equal(sent(FRAME_GOAWAY).frames, 1);
	receive_open(1, FRAME_END, 0, NULL); /* came before the broker heard of it */
	assert_int_equal(stub_fetch_count, 1);
	assert_false(session_v2.is_idle(session));
	stub_end(stub_fetch(0), FAIL_NONE);
	assert_int_equal(sent(FRAME_HEAD).frames, 1);
	assert_true(session_v2.is_idle(session));
	assert_true(session_v2.expects_more(session));
	receive(FRAME_GOAWAY, 0, 0, NULL, 0);
	assert_false(session_v2.expects_more(session));
}

static void test_too_many_streams(void **state)
{
	(void)state;
	for (uint32_t i = 1; i <= 4096; i++)
		receive_open(i, FRAME_END, 0, NULL);
	assert_int_equal(stub_fetch_count, 4096);
	receive_open(4097, FRAME_END, 0, NULL);
	expect_reset(4097, FAIL_OVERLOADED, false);
	assert_int_equal(closed_code, 0);
}

/* A broker that reads nothing: what waits for it is bounded. */
static void test_reads_nothing(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 100000 && closed_code == 0; i++)
		receive_open(i, FRAME_END, 0, "websocket");
	assert_int_equal(closed_code, 1008);
}

/* The broker answers the PING that came behind the HELLO after `ms`. */
static void answer_ping(int64_t ms)
{
	struct sent s = sent(FRAME_PING);

	assert_int_equal(s.frames, 1);
	now_ms += ms;
	receive(FRAME_PONG, 0, 0, s.payload, FRAME_PING_BYTES);
}

/* An upload whose app keeps up, half a window for each half of a round trip. Returns the last
 * lot that was granted. */
static uint32_t upload(int64_t rtt_ms, int halves)
{
	static uint8_t piece[65536];
	int64_t window = FRAME_WINDOW_BYTES;
	uint32_t last = 0;

	for (int i = 0; i < halves; i++) {
		now_ms += rtt_ms / 2;
		for (int64_t left = window / 2; left > 0; left -= (int64_t)sizeof piece) {
			receive(FRAME_DATA, 0, 1, piece, sizeof piece);
			assert_int_equal(stub_read_body(stub_fetch(0), sizeof piece), sizeof piece);
			assert_int_equal(closed_code, 0);
		}
		struct sent s = sent(FRAME_WINDOW);
		last = s.frames > 0 ? get_be32(s.payload) : last;
		window = FRAME_WINDOW_BYTES + windows.used_bytes;
	}
	return last;
}

static void test_windows_grow(void **state)
{
	(void)state;
	answer_ping(50);
	receive_open(1, 0, 0, NULL);
	assert_int_equal(upload(50, 30), 4 << 20); /* a quarter of the largest window */
	assert_true(windows.used_bytes == (16 << 20) - FRAME_WINDOW_BYTES);
	receive(FRAME_DATA, FRAME_END, 1, "", 0);
	receive_open(3, 0, 0, NULL);
	receive(FRAME_RESET, 0, 1, "\14\1", 2);
	assert_true(windows.used_bytes == 0);
}

static void test_windows_that_must_not_grow(void **state)
{
	(void)state;
	windows.total_bytes = 0;
	answer_ping(50);
	receive_open(1, 0, 0, NULL);
	assert_int_equal(upload(50, 30), FRAME_WINDOW_BYTES / 4);
	windows.total_bytes = 64 << 20;
	assert_int_equal(upload(500, 30), FRAME_WINDOW_BYTES / 4); /* the path is slow */
	assert_true(windows.used_bytes == 0);
}

static void test_pings_are_answered(void **state)
{
	(void)state;
	for (int i = 0; i < 5000; i++)
		receive(FRAME_PING, 0, 0, "12345678", 8);
	receive(FRAME_PING, 0, 0, "abcdefgh", 8);
	receive(FRAME_PING, 0, 0, "1234567", 7);
	receive(FRAME_PONG, 0, 0, "12345678", 8);
	struct sent s = sent(FRAME_PONG);
	assert_int_equal(s.frames, 1);
	assert_memory_equal(s.payload, "abcdefgh", 8);
	assert_int_equal(sent(FRAME_PONG).frames, 0);
	assert_int_equal(closed_code, 0);
}

/* A server's HELLO and PING may come before ours has been sent. */
static void test_hello_goes_before_pong(void **state)
{
	static uint8_t out[SESSION_PULL_BYTES];
	bool first, final;

	(void)state;
	receive(FRAME_PING, 0, 0, "12345678", 8);
	size_t bytes = session_v2.pull(session, out, &first, &final);
	assert_true(bytes > 2 * (FRAME_HEADER_BYTES + FRAME_PING_BYTES));
	assert_int_equal(out[0], FRAME_HELLO);
	assert_int_equal(out[bytes - FRAME_HEADER_BYTES - FRAME_PING_BYTES], FRAME_PONG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_greeted, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_greeting),
		TEST(test_request_bodies_have_one_budget),
		TEST(test_small_exchange),
		TEST(test_download_keeps_to_the_window),
		TEST(test_a_small_response_goes_ahead_of_downloads),
		TEST(test_upload_grants_what_was_read),
		TEST(test_end_of_an_upload),
		TEST(test_window_out_of_range),
		cmocka_unit_test_setup_teardown(test_windows_grow, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_windows_that_must_not_grow, set_up, tear_down),
		TEST(test_pings_are_answered),
		cmocka_unit_test_setup_teardown(test_hello_goes_before_pong, set_up, tear_down),
		TEST(test_short_window),
		TEST(test_misuse_behind_the_answer),
		TEST(test_impossible_opens),
		TEST(test_upgrade),
		TEST(test_frames_that_are_skipped),
		TEST(test_cancelled),
		TEST(test_failures),
		TEST(test_early_answer),
		TEST(test_goodbye),
		TEST(test_too_many_streams),
		TEST(test_reads_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
