/* Deadlines, and the time-outs of an exchange, with a clock of the test's own. */
#include "broker/core/deadline.h"
#include "broker/core/hub.h"
#include "common/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* after those that it needs */
#include <cmocka.h>

static struct gate_msg last;
static int replies;

static bool keep_reply(const struct reply_to *to, const struct gate_msg *m)
{
	(void)to;
	last = *m;
	replies++;
	return true;
}

static struct requester requester = {.reply = keep_reply};

static void pass(struct hub *h, int64_t now_ms)
{
	struct gate_msg alive = {.kind = GATE_ALIVE, .process = 1};
	const struct reply_to peer = {.requester = &requester};

	hub_set_now(h, now_ms);
	hub_on_gate(h, &peer, &alive);
	hub_tick(h);
	hub_settle(h);
}

/* The responder asks again after each hold of 10 s: that is no progress of the exchange. */
static void test_holds_do_not_put_the_time_out_off(void **state)
{
	struct config config = {.max_tunnels = 1,
				.max_buffer_bytes_per_id = 1 << 20,
				.max_queue_depth = 10,
				.max_concurrent = 10,
				.response_timeout_ms = 25000,
				.idle_timeout_ms = 25000,
				.offline_wait_ms = 1000000};
	const struct reply_to peer = {.requester = &requester};
	struct gate_msg m = {
		.kind = GATE_OPEN, .process = 1, .id = "demo", .id_bytes = 4, .number = 10000};
	struct head head = {0};
	struct hub *hub;

	(void)state;
	head_add(&head, ":method", "GET");
	m.head = head.data;
	m.head_bytes = head.bytes;
	m.flags = GATE_BODY_END;
	hub = hub_new(&config, 0);
	hub_on_gate(hub, &peer, &m);
	hub_settle(hub);
	assert_int_equal(replies, 0);
	for (int64_t now_ms = 10000; now_ms <= 20000; now_ms += 10000) {
		pass(hub, now_ms);
		assert_int_equal(replies, now_ms / 10000);
		assert_int_equal(last.flags & GATE_FAILED, 0);
		m = (struct gate_msg){
			.kind = GATE_STEP, .process = 1, .boot = last.boot, .number = 10000};
		hub_on_gate(hub, &peer, &m);
		hub_settle(hub);
	}
	pass(hub, 25000);
	assert_int_equal(replies, 3);
	assert_true(last.flags & GATE_FAILED);
	assert_int_equal(last.fail, FAIL_RESPONSE_TIMEOUT);
	assert_false(hub_busy(hub));
	hub_destroy(&hub);
	head_fini(&head);
}

/* --- the heap --- */

enum { MANY = 2000 };

/* A generator of the test's own: the same numbers in each run. */
static uint32_t next_number(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Whatever is set, moved and cleared: what is due comes in order of time, and each exactly once. */
static void test_due_in_order(void **state)
{
	struct deadlines list = {0};
	struct deadline *all = calloc(MANY, sizeof *all), *d;
	uint32_t seed = 1;
	size_t expected = 0, taken = 0;
	int64_t last_ms = 0;

	(void)state;
	for (size_t i = 0; i < 10 * MANY; i++) {
		d = &all[next_number(&seed) % MANY];
		if (next_number(&seed) % 4 == 0)
			deadline_clear(&list, d);
		else
			deadline_set(&list, d, 1 + next_number(&seed) % 5000);
	}
	for (size_t i = 0; i < MANY; i++)
		expected += all[i].at_ms != 0;
	assert_int_equal(list.count, expected);
	while ((d = deadline_take_due(&list, 2500)) != NULL) {
		assert_int_equal(d->at_ms, 0);
		taken++;
	}
	assert_true(deadline_first(&list)->at_ms > 2500);
	for (size_t i = 0; i < MANY; i++)
		assert_true(all[i].at_ms == 0 || all[i].at_ms > 2500);
	while ((d = deadline_first(&list)) != NULL) {
		assert_true(d->at_ms >= last_ms);
		last_ms = d->at_ms;
		assert_ptr_equal(deadline_take_due(&list, last_ms), d);
		taken++;
	}
	assert_int_equal(taken, expected);
	deadlines_fini(&list);
	free(all);
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The CPU time of short waits that come and go beside `others` long ones. */
static int64_t cost_ns(size_t others)
{
	enum { ROUNDS = 20000 };
	struct deadlines list = {0};
	struct deadline *all = calloc(others + 1, sizeof *all);

	for (size_t i = 0; i < others; i++)
		deadline_set(&list, &all[i], 300000 + (int64_t)i);
	int64_t start_ns = cpu_ns();
	for (int64_t now_ms = 1; now_ms <= ROUNDS; now_ms++) {
		deadline_set(&list, &all[others], now_ms + 50);
		deadline_set(&list, &all[others], now_ms + 2000);
		deadline_clear(&list, &all[others]);
	}
	int64_t spent_ns = cpu_ns() - start_ns;
	deadlines_fini(&list);
	free(all);
	return spent_ns + 1;
}

/* Steps grow as the logarithm of what else waits, not with it: 16,000 times as many, and no list
 * is walked. */
static void test_long_waits_cost_short_ones_nothing(void **state)
{
	(void)state;
	int64_t alone_ns = cost_ns(2), beside_ns = cost_ns(32000);

	if (beside_ns > 100 * alone_ns)
		fail_msg("beside 32,000 others: %lld ns instead of %lld", (long long)beside_ns,
			 (long long)alone_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holds_do_not_put_the_time_out_off),
		cmocka_unit_test(test_due_in_order),
		cmocka_unit_test(test_long_waits_cost_short_ones_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
