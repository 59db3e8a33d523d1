/* The states and clocks of the client's tunnel, without a tunnel. */
#include "client/lifecycle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { MIDDLE = UINT16_MAX / 2 };

static enum lifecycle_fate end(struct lifecycle *l, int64_t now_ms, int code, bool by_http,
			       const char *reason, int64_t *delay_ms)
{
	const struct lifecycle_end how = {code, by_http, reason, strlen(reason)};

	return lifecycle_ended(l, now_ms, &how, MIDDLE, delay_ms);
}

/* At the state, at time 0. */
static void bring_to(struct lifecycle *l, enum lifecycle_state state, bool v1)
{
	lifecycle_init(l, 0);
	if (state == LIFECYCLE_WAITING)
		return;
	assert_int_equal(lifecycle_tick(l, 0), LIFECYCLE_CONNECT);
	assert_int_equal(l->state, LIFECYCLE_CONNECTING);
	if (state == LIFECYCLE_CONNECTING)
		return;
	lifecycle_connected(l);
	if (state == LIFECYCLE_SHAKING)
		return;
	lifecycle_greeted(l, 0, v1);
	if (state == LIFECYCLE_GREETING)
		return;
	assert_true(lifecycle_accepted(l, 0));
	assert_false(lifecycle_accepted(l, 0));
	if (state == LIFECYCLE_CLOSING)
		lifecycle_closing(l, 0);
	assert_int_equal(l->state, state);
}

static void test_attempts_have_20_s(void **state)
{
	static const enum lifecycle_state states[] = {LIFECYCLE_CONNECTING, LIFECYCLE_SHAKING,
						      LIFECYCLE_GREETING};

	(void)state;
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		struct lifecycle l;
		bring_to(&l, states[i], false);
		assert_int_equal(lifecycle_tick(&l, 19999), LIFECYCLE_NOTHING);
		assert_int_equal(lifecycle_tick(&l, 20000), LIFECYCLE_TIMED_OUT);
		if (states[i] == LIFECYCLE_GREETING)
			continue;
		bring_to(&l, LIFECYCLE_SHAKING, false);
		lifecycle_refusing(&l, 1000);
		assert_int_equal(lifecycle_next_ms(&l), 3000);
		lifecycle_refusing(&l, 19000);
		assert_int_equal(lifecycle_next_ms(&l), 3000);
	}
}

static void test_v1_is_accepted_by_time(void **state)
{
	struct lifecycle l;

	(void)state;
	bring_to(&l, LIFECYCLE_GREETING, true);
	assert_int_equal(lifecycle_next_ms(&l), 1000);
	assert_int_equal(lifecycle_tick(&l, 999), LIFECYCLE_NOTHING);
	assert_int_equal(lifecycle_tick(&l, 1000), LIFECYCLE_ACCEPTED);
	assert_int_equal(l.state, LIFECYCLE_OPEN);
	assert_false(lifecycle_accepted(&l, 1000));
}

static void test_silence(void **state)
{
	struct lifecycle l;

	(void)state;
	bring_to(&l, LIFECYCLE_OPEN, false);
	assert_int_equal(lifecycle_next_ms(&l), 20000);
	assert_int_equal(lifecycle_tick(&l, 20000), LIFECYCLE_PING);
	assert_int_equal(lifecycle_next_ms(&l), 30000);
	assert_int_equal(lifecycle_tick(&l, 25000), LIFECYCLE_NOTHING);
	lifecycle_received(&l, 26000);
	assert_int_equal(lifecycle_tick(&l, 30000), LIFECYCLE_NOTHING);
	assert_int_equal(lifecycle_tick(&l, 46000), LIFECYCLE_PING);
	assert_int_equal(lifecycle_tick(&l, 56000), LIFECYCLE_SILENT);
}

/* A tick that comes late, as after SIGCONT, pings before it judges. */
static void test_a_late_tick_pings_first(void **state)
{
	struct lifecycle l;

	(void)state;
	bring_to(&l, LIFECYCLE_OPEN, false);
	assert_int_equal(lifecycle_tick(&l, 500000), LIFECYCLE_PING);
	assert_int_equal(lifecycle_tick(&l, 500000), LIFECYCLE_NOTHING);
	assert_int_equal(lifecycle_next_ms(&l), 510000);
	assert_int_equal(lifecycle_tick(&l, 510000), LIFECYCLE_SILENT);
}

static void test_backoff(void **state)
{
	static const int64_t waits_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
	struct lifecycle l;
	int64_t delay_ms, now_ms = 0;

	(void)state;
	lifecycle_init(&l, 0);
	for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
		assert_int_equal(lifecycle_tick(&l, now_ms), LIFECYCLE_CONNECT);
		assert_int_equal(end(&l, now_ms, 0, false, "", &delay_ms), LIFECYCLE_RETRY);
		assert_in_range(delay_ms, waits_ms[i] - 2, waits_ms[i]);
		assert_int_equal(lifecycle_next_ms(&l), now_ms + delay_ms);
		now_ms += delay_ms;
	}
	/* A tunnel that held resets it, one that did not does not. */
	assert_int_equal(lifecycle_tick(&l, now_ms), LIFECYCLE_CONNECT);
	lifecycle_connected(&l);
	lifecycle_greeted(&l, now_ms, false);
	lifecycle_accepted(&l, now_ms);
	lifecycle_closing(&l, now_ms + 9999);
	struct lifecycle held = l;
	assert_int_equal(end(&l, now_ms + 9999, 1006, false, "", &delay_ms), LIFECYCLE_RETRY);
	assert_in_range(delay_ms, 59000, 60000);
	assert_int_equal(end(&held, now_ms + 10000, 1006, false, "", &delay_ms), LIFECYCLE_RETRY);
	assert_in_range(delay_ms, 998, 1000);
}

/* 1001, the server goes away: at once, but not for ever. A tunnel that held allows it again. */
static void test_restarts_of_the_server(void **state)
{
	struct lifecycle l;
	int64_t delay_ms;

	(void)state;
	bring_to(&l, LIFECYCLE_OPEN, false);
	for (int i = 0; i < LIFECYCLE_RESTARTS_MAX; i++) {
		assert_int_equal(end(&l, 5000, 1001, false, "", &delay_ms), LIFECYCLE_RETRY);
		assert_in_range(delay_ms, 50, 500);
		/* The attempts in between count for the back-off alone. */
		l.state = LIFECYCLE_OPEN;
		l.opened_ms = 0;
	}
	assert_int_equal(end(&l, 5000, 1001, false, "", &delay_ms), LIFECYCLE_RETRY);
	assert_in_range(delay_ms, 998, 1000);
	l.state = LIFECYCLE_OPEN;
	l.opened_ms = 0;
	assert_int_equal(end(&l, 10000, 1001, false, "", &delay_ms), LIFECYCLE_RETRY);
	assert_in_range(delay_ms, 50, 500);
	/* An attempt that was never open, and HTTP, are other things. */
	l.state = LIFECYCLE_SHAKING;
	assert_int_equal(end(&l, 10000, 1001, false, "", &delay_ms), LIFECYCLE_RETRY);
	assert_in_range(delay_ms, 998, 1000);
}

static void test_jitter(void **state)
{
	const struct lifecycle_end how = {0};
	struct lifecycle l;
	int64_t delay_ms;

	(void)state;
	lifecycle_init(&l, 0);
	(void)lifecycle_ended(&l, 0, &how, 0, &delay_ms);
	assert_int_equal(delay_ms, 800);
	lifecycle_init(&l, 0);
	(void)lifecycle_ended(&l, 0, &how, UINT16_MAX, &delay_ms);
	assert_int_equal(delay_ms, 1200);
}

static void test_refusals(void **state)
{
	static const struct {
		int code;
		bool by_http;
		const char *reason;
		enum lifecycle_fate fate;
	} rows[] = {
		{1008, false, "Missing token", LIFECYCLE_REFUSED},
		{1008, false, "Invalid token", LIFECYCLE_REFUSED},
		{1008, false, "Token expired", LIFECYCLE_REFUSED},
		{1008, false, "Token revoked", LIFECYCLE_REFUSED},
		{401, true, "", LIFECYCLE_REFUSED},
		{403, true, "", LIFECYCLE_REFUSED},
		{1008, false, "Token not yet valid", LIFECYCLE_RETRY},
		{1008, false, "reads nothing", LIFECYCLE_RETRY},
		{1008, false, "", LIFECYCLE_RETRY},
		{1008, false, "Invalid token!", LIFECYCLE_RETRY},
		{1008, false, "invalid token", LIFECYCLE_RETRY},
		{1000, false, "Invalid token", LIFECYCLE_RETRY},
		{1011, false, "Token expired", LIFECYCLE_RETRY},
		{401, false, "", LIFECYCLE_RETRY},
		{1008, true, "Invalid token", LIFECYCLE_RETRY},
		{400, true, "", LIFECYCLE_RETRY},
		{404, true, "", LIFECYCLE_RETRY},
		{407, true, "", LIFECYCLE_RETRY},
		{503, true, "", LIFECYCLE_RETRY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct lifecycle l;
		int64_t delay_ms;
		bring_to(&l, LIFECYCLE_CLOSING, false);
		if (end(&l, 1, rows[i].code, rows[i].by_http, rows[i].reason, &delay_ms) !=
		    rows[i].fate)
			fail_msg("%d %s", rows[i].code, rows[i].reason);
		assert_int_equal(l.state, rows[i].fate == LIFECYCLE_REFUSED ? LIFECYCLE_OVER
									    : LIFECYCLE_WAITING);
	}
}

static void test_stop(void **state)
{
	static const struct {
		enum lifecycle_state state;
		bool v1;
		int64_t most_ms;
		enum lifecycle_step step;
	} rows[] = {
		{LIFECYCLE_WAITING, false, 10000, LIFECYCLE_STOP},
		{LIFECYCLE_CONNECTING, false, 10000, LIFECYCLE_STOP},
		{LIFECYCLE_SHAKING, false, 10000, LIFECYCLE_STOP},
		{LIFECYCLE_GREETING, false, 10000, LIFECYCLE_CLOSE},
		{LIFECYCLE_GREETING, true, 10000, LIFECYCLE_DRAIN},
		{LIFECYCLE_OPEN, false, 10000, LIFECYCLE_DRAIN},
		{LIFECYCLE_OPEN, false, 0, LIFECYCLE_CLOSE},
		{LIFECYCLE_CLOSING, false, 10000, LIFECYCLE_NOTHING},
		{LIFECYCLE_CLOSING, false, 0, LIFECYCLE_STOP},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct lifecycle l;
		int64_t delay_ms;
		bring_to(&l, rows[i].state, rows[i].v1);
		assert_int_equal(lifecycle_stop(&l, 1, rows[i].most_ms), rows[i].step);
		assert_int_equal(l.state == LIFECYCLE_OVER, rows[i].step == LIFECYCLE_STOP);
		if (rows[i].step == LIFECYCLE_STOP) {
			assert_int_equal(lifecycle_next_ms(&l), INT64_MAX);
			assert_int_equal(lifecycle_stop(&l, 2, 0), LIFECYCLE_NOTHING);
			continue;
		}
		assert_int_equal(end(&l, 2, 1008, false, "Invalid token", &delay_ms),
				 LIFECYCLE_STOPPED);
	}
}

/* Requests that do not end are cut; a peer that answers no Close is not waited for. */
static void test_stop_has_an_end(void **state)
{
	struct lifecycle l;

	(void)state;
	bring_to(&l, LIFECYCLE_OPEN, false);
	assert_int_equal(lifecycle_stop(&l, 0, 10000), LIFECYCLE_DRAIN);
	assert_false(lifecycle_may_close(&l, 499, true));
	assert_true(lifecycle_may_close(&l, 499, false));
	assert_int_equal(lifecycle_next_ms(&l), 500);
	assert_true(lifecycle_may_close(&l, 500, true));
	assert_int_equal(lifecycle_tick(&l, 500), LIFECYCLE_NOTHING);
	assert_true(lifecycle_may_close(&l, 501, true));
	assert_int_equal(lifecycle_next_ms(&l), 10000);
	assert_int_equal(lifecycle_tick(&l, 10000), LIFECYCLE_CLOSE);
	lifecycle_closing(&l, 10000);
	assert_int_equal(lifecycle_next_ms(&l), 10500);
	assert_int_equal(lifecycle_tick(&l, 10500), LIFECYCLE_TIMED_OUT);
	bring_to(&l, LIFECYCLE_OPEN, false);
	assert_false(lifecycle_may_close(&l, 1 << 20, false)); /* it does not stop */
}

static void test_waking(void **state)
{
	struct lifecycle l;
	int64_t delay_ms;

	(void)state;
	bring_to(&l, LIFECYCLE_OPEN, false);
	lifecycle_received(&l, 50000);
	lifecycle_woke(&l, 51000);
	assert_int_equal(lifecycle_tick(&l, 51000), LIFECYCLE_PING);
	assert_int_equal(lifecycle_next_ms(&l), 61000);
	lifecycle_woke(&l, 52000); /* the Ping under way is not taken back */
	assert_int_equal(lifecycle_tick(&l, 61000), LIFECYCLE_SILENT);
	for (int i = 0; i < 9; i++)
		(void)end(&l, 61000, 0, false, "", &delay_ms);
	assert_true(delay_ms > 50000);
	lifecycle_woke(&l, 62000);
	assert_int_equal(lifecycle_tick(&l, 62000), LIFECYCLE_CONNECT);
	(void)end(&l, 62000, 0, false, "", &delay_ms);
	assert_true(delay_ms <= 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attempts_have_20_s),
		cmocka_unit_test(test_v1_is_accepted_by_time),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_a_late_tick_pings_first),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_restarts_of_the_server),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_stop_has_an_end),
		cmocka_unit_test(test_waking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
