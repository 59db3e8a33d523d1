/* Time-outs of an exchange, with a clock of the test's own. */
#include "broker/hub.h"
#include "common/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static struct gate_msg last;
static int replies;

static bool keep_reply(void *ctx, const struct gate_peer *peer, const struct gate_msg *m)
{
	(void)ctx;
	(void)peer;
	last = *m;
	replies++;
	return true;
}

static void pass(struct hub *h, int64_t now_ms)
{
	struct gate_msg alive = {.kind = GATE_ALIVE, .process = 1};
	struct gate_peer peer = {0};

	hub_set_now(h, now_ms);
	hub_on_gate(h, &peer, &alive);
	hub_tick(h);
	hub_settle(h);
}

/* The responder asks again after each hold of 10 s: that is no progress of the exchange. */
static void test_holds_do_not_put_the_time_out_off(void **state)
{
	struct config config = {.max_queue_depth = 10,
				.max_concurrent = 10,
				.response_timeout_ms = 25000,
				.idle_timeout_ms = 25000,
				.offline_wait_ms = 1000000};
	struct hub_io io = {.reply = keep_reply};
	struct gate_peer peer = {.parts = 1, .part_bytes = {1}};
	struct gate_msg m = {
		.kind = GATE_OPEN, .process = 1, .id = "demo", .id_bytes = 4, .number = 10000};
	struct head head = {0};
	struct hub hub;

	(void)state;
	head_add(&head, ":method", "GET");
	m.head = head.data;
	m.head_bytes = head.bytes;
	m.flags = GATE_BODY_END;
	hub_init(&hub, &config, &io, 0);
	hub_on_gate(&hub, &peer, &m);
	hub_settle(&hub);
	assert_int_equal(replies, 0);
	for (int64_t now_ms = 10000; now_ms <= 20000; now_ms += 10000) {
		pass(&hub, now_ms);
		assert_int_equal(replies, now_ms / 10000);
		assert_int_equal(last.flags & GATE_FAILED, 0);
		m = (struct gate_msg){
			.kind = GATE_STEP, .process = 1, .boot = last.boot, .number = 10000};
		hub_on_gate(&hub, &peer, &m);
		hub_settle(&hub);
	}
	pass(&hub, 25000);
	assert_int_equal(replies, 3);
	assert_true(last.flags & GATE_FAILED);
	assert_int_equal(last.fail, FAIL_RESPONSE_TIMEOUT);
	assert_false(hub_busy(&hub));
	hub_fini(&hub);
	head_fini(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holds_do_not_put_the_time_out_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
