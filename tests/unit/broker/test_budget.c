/* What one connection id may hold: bytes, tunnels, time for a message. Memory that a peer sizes
 * may be missing. */
#include "broker/core/v1_request.h"
#include "broker/core/v1_response.h"
#include "tests/fuzz/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* after those that it needs */
#include <cmocka.h>

#define CORR "01010101-0101-0101-0101-010101010101" /* of peer 1 */

/* --- an allocator that has no memory for what is large --- */

void *__real_malloc(size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);

static size_t most_bytes = SIZE_MAX; /* larger allocations fail */
static size_t largest_bytes;	     /* that was asked for */

static bool refuses(size_t bytes)
{
	largest_bytes = bytes > largest_bytes ? bytes : largest_bytes;
	return bytes > most_bytes;
}

void *__wrap_malloc(size_t bytes)
{
	return refuses(bytes) ? NULL : __real_malloc(bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return refuses(bytes) ? NULL : __real_realloc(old, bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return refuses(count * bytes) ? NULL : __real_calloc(count, bytes);
}

/* --- */

static struct world w;
static struct head get, post;

static int set_up(void **state)
{
	(void)state;
	most_bytes = SIZE_MAX;
	world_init(&w);
	world_request(&get, "GET", "/");
	world_request(&post, "POST", "/");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	most_bytes = SIZE_MAX;
	world_fini(&w);
	head_fini(&get);
	head_fini(&post);
	return 0;
}

static struct tunnel *connect_v1(size_t slot)
{
	world_connect(&w, slot, &protocol_v1, "a");
	world_settle(&w);
	return w.sockets[slot].tunnel;
}

static void open(size_t peer)
{
	world_open(&w, peer, "a", &get, GATE_BODY_END, 0);
	world_settle(&w);
}

static void expect_failure(size_t peer, enum fail f, uint8_t flags)
{
	const struct world_peer *p = &w.peers[peer];

	assert_false(p->waiting);
	if (p->last.fail != f || p->last.flags != (GATE_FAILED | flags))
		fail_msg("peer %zu: %s, flags %u", peer, fail_code((enum fail)p->last.fail),
			 p->last.flags);
}

/* A response of a v1 client to that peer: so many base64 groups. */
static void respond(size_t slot, size_t peer, size_t groups)
{
	struct buf text = {0};
	char number[64];

	buf_append(&text, "{\"correlation_id\":\"", 19);
	for (int i = 0; i < 16; i++) {
		snprintf(number, sizeof number, "%02zx", peer);
		buf_append(&text, number, 2);
	}
	buf_append(&text, "\",\"headers\":\"\",\"status_code\":200,\"body\":\"", 41);
	for (size_t i = 0; i < groups; i++)
		buf_append(&text, "QUJD", 4);
	buf_append(&text, "\"}", 2);
	world_receive(&w, slot, buf_first(&text), buf_bytes(&text));
	world_settle(&w);
	buf_fini(&text);
}

/* As a responder fetches it whose caller reads. */
static void fetch(size_t peer)
{
	for (int i = 0; i < 1000 && !(w.peers[peer].last.flags & GATE_RESPONSE_END); i++) {
		world_step(&w, peer, GATE_STEP, 0, 10000, 0);
		world_settle(&w);
		assert_false(w.peers[peer].waiting);
		assert_int_equal(w.peers[peer].last.flags & GATE_FAILED, 0);
	}
	assert_int_equal(w.peers[peer].last.flags & GATE_RESPONSE_END, GATE_RESPONSE_END);
}

/* The limit is 4 MiB: 2 of them for bodies, 2 for one message. */
static void test_slow_callers_slow_their_own_id(void **state)
{
	struct tunnel *t;

	(void)state;
	w.config.max_concurrent = 8;
	t = connect_v1(0);
	world_connect(&w, 1, &protocol_v1, "b");
	for (size_t peer = 1; peer <= 3; peer++)
		open(peer);
	respond(0, 1, 400000);
	assert_false(t->paused);
	respond(0, 2, 400000); /* 1.2 MB each */
	assert_true(t->paused && w.sockets[0].paused);
	assert_false(w.sockets[1].tunnel->paused);
	assert_int_equal(w.hub->stats.full_ids, 1);
	open(4);
	expect_failure(4, FAIL_OVERLOADED, 0); /* nothing was delivered */
	world_open(&w, 5, "b", &get, GATE_BODY_END, 0);
	world_settle(&w);
	assert_true(w.peers[5].waiting); /* another id has its own budget */
	fetch(1);
	assert_false(t->paused || w.sockets[0].paused);
	open(1);
	assert_true(w.peers[1].waiting);
	fetch(2);
	respond(0, 3, 1);
	assert_int_equal(w.peers[3].last.body_bytes, 3);
}

/* All of it has come, and the caller has not read it: nobody else may have the place. */
static void test_an_answered_exchange_runs_until_its_caller_has_it(void **state)
{
	struct tunnel *t = connect_v1(0);

	(void)state;
	for (size_t peer = 1; peer <= 3; peer++)
		open(peer); /* two may run */
	respond(0, 1, 100000);
	assert_int_equal(t->running_count, 2);
	assert_int_equal(w.hub->stats.running, 2);
	assert_int_equal(w.hub->stats.queued, 1);
	fetch(1);
	assert_int_equal(w.hub->stats.queued, 0);
	/* and one that is answered survives its tunnel */
	respond(0, 2, 100000);
	world_disconnect(&w, 0);
	world_settle(&w);
	fetch(2);
}

static void gather(struct tunnel *t, size_t bytes)
{
	tunnel_on_piece(t, bytes);
	world_settle(&w);
}

/* Unfinished messages hold all there is: one at a time may end, the largest first; one that
 * stalls is closed. */
static void test_unfinished_messages_do_not_lock_each_other(void **state)
{
	struct tunnel *t[3];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		t[i] = connect_v1(i);
		gather(t[i], 600000);
	}
	assert_false(t[0]->paused || t[1]->paused || t[2]->paused);
	gather(t[1], 1000000);
	assert_true(t[0]->paused && t[2]->paused);
	assert_false(t[1]->paused);
	for (size_t bytes = 1100000; bytes < 2000000; bytes += 300000) {
		world_later(&w, 6000);
		gather(t[1], bytes);
		assert_int_equal(t[1]->state, TUNNEL_OPEN);
	}
	assert_true(t[0]->paused && t[2]->paused);
	world_later(&w, 10001);
	assert_null(w.sockets[1].tunnel); /* closed, and its memory is free */
	assert_false(t[0]->paused || t[2]->paused);
}

static void test_a_message_has_to_be_complete_in_time(void **state)
{
	struct tunnel *t = connect_v1(0);

	(void)state;
	w.config.idle_timeout_ms = 1000000;
	gather(t, 100);
	for (int i = 0; i < 19; i++) { /* pieces do not put it off */
		world_later(&w, 1000);
		gather(t, 200);
	}
	assert_int_equal(t->state, TUNNEL_OPEN);
	world_later(&w, 1001);
	assert_null(w.sockets[0].tunnel);
}

static void hello(size_t slot, const char *instance)
{
	world_connect(&w, slot, &protocol_v2, "a");
	world_hello(&w, slot, "100", "65536", instance);
	world_settle(&w);
}

static void test_tunnels_of_one_id(void **state)
{
	(void)state; /* three */
	hello(0, "00000000000000000000000000000000");
	connect_v1(1);
	hello(2, "22222222222222222222222222222222");
	connect_v1(3);
	assert_null(w.sockets[3].tunnel);
	assert_int_equal(w.hub->stats.over_limit_total, 1);
	hello(3, "33333333333333333333333333333333");
	assert_null(w.sockets[3].tunnel);
	/* one that replaces its own earlier connection is never one too many */
	hello(3, "22222222222222222222222222222222");
	assert_int_equal(w.sockets[3].tunnel->state, TUNNEL_OPEN);
	assert_null(w.sockets[2].tunnel);
	assert_int_equal(w.hub->stats.tunnels, 3);
	world_connect(&w, 2, &protocol_v1, "b"); /* another id */
	world_settle(&w);
	assert_int_equal(w.sockets[2].tunnel->state, TUNNEL_OPEN);
}

static void test_tunnels_that_do_not_greet(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		world_connect(&w, i, &protocol_v2, "a");
	world_settle(&w);
	assert_null(w.sockets[0].tunnel); /* the oldest made room */
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(w.sockets[i].tunnel->state, TUNNEL_GREETING);
}

/* The memory of grants is spoken for: uploads that come after wait for credit. */
static void test_uploads(void **state)
{
	(void)state;
	w.config.max_buffer_bytes_per_id = 1 << 20; /* 512 KiB of bodies: two grants */
	w.config.max_concurrent = 8;
	w.config.max_body_bytes = 0;
	hello(0, "00000000000000000000000000000000");
	w.sockets[0].blocked = true;
	for (size_t peer = 1; peer <= 3; peer++) {
		world_open(&w, peer, "a", &post, 0, 0);
		world_settle(&w);
	}
	assert_int_equal(w.peers[1].last.number, 262144);
	assert_int_equal(w.peers[2].last.number, 262144);
	expect_failure(3, FAIL_OVERLOADED, 0);
	world_step(&w, 1, GATE_CANCEL, 0, 0, 0);
	world_settle(&w);
	world_open(&w, 3, "a", &post, 0, 0);
	world_settle(&w);
	assert_int_equal(w.peers[3].last.number, 262144);
	assert_in_range(w.hub->stats.held_bytes, 2 * 262144, 1 << 20);
}

/* A v1 request is whole before it goes: parts that wait for their rest would wait for ever. */
static void test_v1_uploads(void **state)
{
	struct tunnel *t = connect_v1(0);

	(void)state;
	w.config.max_buffer_bytes_per_id = 1 << 20;
	w.config.v1_message_bytes = 1 << 20;
	world_open(&w, 1, "a", &post, 0, 100000);
	world_settle(&w);
	assert_int_equal(w.peers[1].last.number, 262144);
	gather(t, 300000);
	world_step(&w, 1, GATE_STEP, 0, 10000, 100000);
	world_settle(&w);
	expect_failure(1, FAIL_OVERLOADED, GATE_ACCEPTED);
}

/* A responder that holds much of the response unsent gets no more of it, and may go on with its
 * own. */
static void test_a_caller_that_sends_and_does_not_read(void **state)
{
	const struct gate_msg *m = &w.peers[1].last;

	(void)state;
	hello(0, "00000000000000000000000000000000");
	world_open(&w, 1, "a", &post, 0, 0);
	world_settle(&w);
	world_step(&w, 1, GATE_STEP, 0, 10000, 10);
	world_settle(&w);
	world_answer(&w, 0, 0, 1, "0123456789", 10);
	world_step(&w, 1, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	assert_int_equal(m->body_bytes, 10);
	hub_note_unsent(w.hub, m->corr, 65536);
	world_receive_frame(&w, 0, FRAME_DATA, FRAME_END, 1, "abc", 3);
	world_step(&w, 1, GATE_STEP, 0, 10000, 10);
	world_settle(&w);
	assert_int_equal(m->body_bytes, 0);
	assert_int_equal(m->flags & GATE_RESPONSE_END, 0);
	hub_note_unsent(w.hub, m->corr, 0);
	world_step(&w, 1, GATE_STEP, 0, 10000, 0);
	world_settle(&w);
	assert_int_equal(m->body_bytes, 3);
	assert_int_equal(m->flags & GATE_RESPONSE_END, GATE_RESPONSE_END);
}

/* --- memory --- */

static void test_no_memory_for_a_message(void **state)
{
	struct tunnel *t = connect_v1(0);

	(void)state;
	open(1);
	most_bytes = 100000;
	respond(0, 1, 10); /* a small one passes */
	most_bytes = SIZE_MAX;
	assert_int_equal(w.peers[1].last.body_bytes, 30);
	open(2);
	char *large = xcalloc(1, 200001);
	memset(large, ' ', 200000);
	most_bytes = 150000;
	tunnel_on_message(t, (const uint8_t *)large, 200000);
	most_bytes = SIZE_MAX;
	world_settle(&w);
	assert_null(w.sockets[0].tunnel); /* that tunnel is closed, and nothing else */
	expect_failure(2, FAIL_TUNNEL_LOST, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	free(large);
}

static void test_no_memory_for_bodies(void **state)
{
	char *zeros = xcalloc(1, 60000);

	(void)state;
	hello(0, "00000000000000000000000000000000");
	open(1);
	world_answer(&w, 0, 0, 1, zeros, 60000);
	w.peers[1].waiting = true; /* does not come for more */
	most_bytes = 100000;
	for (int i = 0; i < 3; i++) {
		uint8_t header[FRAME_HEADER_BYTES];
		struct buf message = {0};
		frame_put_header(header, FRAME_DATA, 0, 1, 20000);
		assert_true(buf_try_append(&message, header, sizeof header));
		assert_true(buf_try_append(&message, zeros, 20000));
		tunnel_on_message(w.sockets[0].tunnel, buf_first(&message), buf_bytes(&message));
		buf_fini(&message);
	}
	most_bytes = SIZE_MAX;
	assert_int_equal(w.hub->exchanges->fail, FAIL_OVERLOADED);
	assert_int_equal(w.sockets[0].tunnel->state, TUNNEL_OPEN);
	free(zeros);
}

static void test_no_memory_for_requests(void **state)
{
	struct head large = {0};
	char *value = xcalloc(1, 60001);

	(void)state;
	memset(value, 'x', 60000);
	head_append(&large, &get);
	head_add(&large, "x-large", value);
	connect_v1(0);
	struct gate_msg m = {.kind = GATE_OPEN,
			     .flags = GATE_BODY_END,
			     .number = 10000,
			     .process = 1,
			     .id = "a",
			     .id_bytes = 1,
			     .head = large.data,
			     .head_bytes = large.bytes};
	const struct reply_to from = {.requester = &w.gate, .data = {1}};
	w.peers[1].waiting = true;
	most_bytes = 50000;
	hub_on_gate(w.hub, &from, &m);
	most_bytes = SIZE_MAX;
	world_settle(&w);
	expect_failure(1, FAIL_OVERLOADED, 0);
	free(value);
	head_fini(&large);
}

/* --- the cost of a message: no allocation grows with what it is made of --- */

static void decode(struct v1_response *r, const char *before, const char *unit, size_t count,
		   const char *after)
{
	struct buf message = {0};

	buf_append(&message, before, strlen(before));
	for (size_t i = 0; i < count; i++)
		buf_append(&message, unit, strlen(unit));
	buf_append(&message, after, strlen(after));
	largest_bytes = 0;
	v1_response_decode(r, &message);
	assert_null(message.data);
}

static void test_messages_of_many_values(void **state)
{
	static const char named[] = "{\"correlation_id\":\"" CORR "\",";
	static const struct {
		const char *before, *unit, *after;
		bool has_corr;
	} rows[] = {
		{"[", "{},", "{}]", false},
		{"", "[", "", false},
		{"{", "\"a\":1,", "\"b\":1}", false},
		{named, "\"a\":[],", "\"b\":1}", true},
		{"{\"a\":[", "1,", "1],\"correlation_id\":\"" CORR "\"}", true},
		{named, "\"a\":{", "", true},
		{"{\"x\":{\"correlation_id\":\"" CORR "\"},\"y\":[", "1,", "1]}", false},
		{"{\"correlation_id\":\"" CORR "\",\"x\":\"", "abc ", "\"}", true},
		{"{\"correlation_id\":\"" CORR "\",\"body\":\"", "%%%%", "\"}", true},
		{"{\"correlation_id\":\"" CORR
		 "\",\"status_code\":200,\"body\":\"\",\"headers\":\"{",
		 "\\\"a\\\":\\\"\\\",", "\\\"b\\\":\\\"\\\"}\"}", true},
		{"\"", "\\\\", "\"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct v1_response r;
		decode(&r, rows[i].before, rows[i].unit, 1000000, rows[i].after);
		if (r.has_corr != rows[i].has_corr || r.fault == NULL)
			fail_msg("row %zu: %d, %s", i, r.has_corr, r.fault ? r.fault : "valid");
		if (r.has_corr)
			assert_memory_equal(r.corr, "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 16);
		if (largest_bytes > 65536)
			fail_msg("row %zu asked for %zu bytes", i, largest_bytes);
		v1_response_fini(&r);
	}
}

/* 4 for 3, and where the message lies already. */
static void test_a_large_body_costs_no_other_memory(void **state)
{
	struct v1_response r;

	(void)state;
	decode(&r, "{\"correlation_id\":\"" CORR "\",\"headers\":\"\",\"body\":\"", "QUJD", 1000000,
	       "QQ==\",\"status_code\":200}");
	assert_null(r.fault);
	assert_int_equal(buf_bytes(&r.body), 3000001);
	assert_int_equal(r.body.capacity, 3000001);
	assert_memory_equal(buf_first(&r.body), "ABCABC", 6);
	assert_int_equal(largest_bytes, 3000001); /* what it shrank to */
	v1_response_fini(&r);
}

/* Some encoders escape what need not be. */
static void test_spellings_of_base64(void **state)
{
	static const struct {
		const char *body, *bytes; /* NULL: no base64 */
	} rows[] = {
		{"", ""},
		{"Pz8/", "???"},
		{"Pz8\\/", "???"},
		{"Pz8\\u002f", "???"},
		{"Pz8\\u002F", "???"},
		{"QQ\\u003d\\u003D", "A"},
		{"QQ==", "A"},
		{"\\u0051Q==", "A"},
		{"QUI=", "AB"},
		{"QUI\\n", NULL},
		{"QQ=\\u003", NULL},
		{"Q===", NULL},
		{"====", NULL},
		{"QQ==QQ==", NULL},
		{"Q=QQ", NULL},
		{"QUJ", NULL},
		{"QUJ\\u0141", NULL},
		{"QUJ\\u0000", NULL},
		{" QUJ", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct v1_response r;
		decode(&r, "{\"correlation_id\":\"" CORR "\",\"headers\":\"\",\"body\":\"",
		       rows[i].body, 1, "\",\"status_code\":200}");
		if ((r.fault == NULL) != (rows[i].bytes != NULL))
			fail_msg("row %zu: %s", i, r.fault ? r.fault : "valid");
		if (r.fault == NULL) {
			assert_int_equal(buf_bytes(&r.body), strlen(rows[i].bytes));
			if (*rows[i].bytes != '\0')
				assert_memory_equal(buf_first(&r.body), rows[i].bytes,
						    strlen(rows[i].bytes));
		}
		v1_response_fini(&r);
	}
}

/* Writes a request of that many pairs or fields. Returns the largest block it took. */
static size_t request_cost(const char *name, const char *unit, size_t count, enum fail expected)
{
	struct head head = {0};
	struct buf target = {0}, out = {0};

	buf_append(&target, "/?", 2);
	for (size_t i = 0; i < count; i++)
		buf_append(&target, unit, strlen(unit));
	head_add(&head, ":method", "GET");
	head_add_bytes(&head, ":target", 7, buf_first(&target), buf_bytes(&target));
	for (size_t i = 0; name != NULL && i < count; i++)
		head_add(&head, name, "v");
	const struct v1_request r = {.corr = (const uint8_t *)"0123456789abcdef",
				     .head = head.data,
				     .head_bytes = head.bytes};
	largest_bytes = 0;
	assert_int_equal(v1_request_write(&r, &out), expected);
	buf_fini(&out);
	buf_fini(&target);
	head_fini(&head);
	return largest_bytes;
}

static void test_requests_of_many_parts(void **state)
{
	(void)state;
	/* A pair of 2 bytes is 13 in the message; growth doubles that. */
	assert_in_range(request_cost(NULL, "a&", V1_REQUEST_PAIRS_MAX, FAIL_NONE),
			V1_REQUEST_PAIRS_MAX, V1_REQUEST_PAIRS_MAX * 32);
	/* Nothing but the room of the parser, 4 bytes for each of the query. */
	assert_in_range(request_cost(NULL, "a&", 40000, FAIL_BAD_REQUEST), 0, 40000 * 2 * 4 + 100);
	assert_in_range(request_cost("x", "", 10000, FAIL_NONE), 10000, 10000 * 100);
}

/* All tunnels of an id together, however many there are; another id has its own share. */
static void test_a_turn_of_the_loop_is_shared(void **state)
{
	struct hub h = {.turn = 1};
	struct group one = {.hub = &h}, other = {.hub = &h};
	struct tunnel a = {.home = &one}, b = {.home = &one}, c = {.home = &other};
	size_t small = 0, large = 0;

	(void)state;
	while (!budget_spend(&a, 2) && !budget_spend(&b, 2))
		small += 2;
	assert_in_range(small, 100, 1000);
	assert_true(budget_spend(&b, 2));
	assert_false(budget_spend(&c, 2));
	h.turn++;
	while (!budget_spend(&a, 65536))
		large++;
	assert_in_range(large, 8, small / 8); /* large pieces cost more, and several pass */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_slow_callers_slow_their_own_id),
		TEST(test_an_answered_exchange_runs_until_its_caller_has_it),
		TEST(test_unfinished_messages_do_not_lock_each_other),
		TEST(test_a_message_has_to_be_complete_in_time),
		TEST(test_tunnels_of_one_id),
		TEST(test_tunnels_that_do_not_greet),
		TEST(test_uploads),
		TEST(test_v1_uploads),
		TEST(test_a_caller_that_sends_and_does_not_read),
		TEST(test_no_memory_for_a_message),
		TEST(test_no_memory_for_bodies),
		TEST(test_no_memory_for_requests),
		cmocka_unit_test(test_a_turn_of_the_loop_is_shared),
		cmocka_unit_test(test_messages_of_many_values),
		cmocka_unit_test(test_a_large_body_costs_no_other_memory),
		cmocka_unit_test(test_spellings_of_base64),
		cmocka_unit_test(test_requests_of_many_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
