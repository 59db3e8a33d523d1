/* The least round trip of a tunnel: when PINGs are sent, and which PONGs count. */
#include "common/rtt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static uint8_t sent[FRAME_PING_BYTES];

static bool ping(struct rtt *r, int64_t now_ms, enum rtt_occasion occasion)
{
	return rtt_ping(r, now_ms, occasion, sent);
}

static void receive(struct rtt *r, int64_t now_ms, uint8_t type, uint32_t stream,
		    const uint8_t *payload, size_t bytes)
{
	rtt_on_frame(r, now_ms,
		     &(struct frame){.type = type,
				     .stream = stream,
				     .payload = payload,
				     .payload_bytes = bytes});
}

static void pong(struct rtt *r, int64_t now_ms)
{
	receive(r, now_ms, FRAME_PONG, 0, sent, sizeof sent);
}

static void test_the_least_counts(void **state)
{
	struct rtt r = {0};

	(void)state;
	assert_true(ping(&r, 1000, RTT_START));
	assert_int_equal(r.least_ms, 0);
	pong(&r, 1050);
	assert_int_equal(r.least_ms, 50);
	assert_false(ping(&r, 1100, RTT_BULK)); /* a second after the last one */
	assert_true(ping(&r, 2000, RTT_BULK));
	pong(&r, 2500); /* a queue was before it */
	assert_int_equal(r.least_ms, 50);
	assert_true(ping(&r, 3000, RTT_BULK));
	pong(&r, 3045);
	assert_int_equal(r.least_ms, 45);
	assert_true(ping(&r, 4000, RTT_BULK));
	pong(&r, 4000);
	assert_int_equal(r.least_ms, 1); /* 0 stands for unknown */
}

/* The path may have become a longer one; but only an empty one tells. */
static void test_a_quiet_path_is_measured_anew(void **state)
{
	struct rtt r = {0};

	(void)state;
	assert_true(ping(&r, 1000, RTT_START));
	pong(&r, 1050);
	assert_false(ping(&r, 30999, RTT_START));
	assert_true(ping(&r, 31000, RTT_START));
	pong(&r, 31200);
	assert_int_equal(r.least_ms, 200);
	assert_true(ping(&r, 70000, RTT_BULK));
	pong(&r, 70300);
	assert_int_equal(r.least_ms, 200);
}

static void test_bulk_is_not_quiet(void **state)
{
	struct rtt r = {0};

	(void)state;
	assert_true(ping(&r, 1000, RTT_START));
	pong(&r, 1050);
	assert_true(ping(&r, 5000, RTT_BULK));
	pong(&r, 5100);
	r.bulk_ms = 40000 - 999;
	assert_true(ping(&r, 40000, RTT_START));
	pong(&r, 40500);
	assert_int_equal(r.least_ms, 50);
	r.bulk_ms = 80000 - 1000;
	assert_true(ping(&r, 80000, RTT_START));
	pong(&r, 80500);
	assert_int_equal(r.least_ms, 500);
}

/* An older peer does not answer, and is asked once. */
static void test_one_is_under_way(void **state)
{
	struct rtt r = {0};

	(void)state;
	assert_true(ping(&r, 1000, RTT_START));
	for (int64_t ms = 2000; ms < 2000000; ms += 1000) {
		assert_false(ping(&r, ms, RTT_BULK));
		assert_false(ping(&r, ms, RTT_START));
	}
	assert_int_equal(r.least_ms, 0);
}

static void test_pongs_that_do_not_count(void **state)
{
	static const uint8_t zeros[FRAME_PING_BYTES + 1];
	struct rtt r = {0};

	(void)state;
	receive(&r, 1, FRAME_PONG, 0, zeros, FRAME_PING_BYTES); /* for no PING */
	assert_true(ping(&r, 1000, RTT_START));
	receive(&r, 1001, FRAME_PONG, 0, zeros, FRAME_PING_BYTES);
	receive(&r, 1001, FRAME_PONG, 0, sent, FRAME_PING_BYTES - 1);
	receive(&r, 1001, FRAME_PONG, 0, zeros, FRAME_PING_BYTES + 1);
	receive(&r, 1001, FRAME_PONG, 0, NULL, 0);
	receive(&r, 1001, FRAME_PONG, 1, sent, FRAME_PING_BYTES);
	assert_int_equal(r.least_ms, 0);
	pong(&r, 1020);
	pong(&r, 1021); /* again */
	receive(&r, 1022, FRAME_DATA, 0, sent, FRAME_PING_BYTES);
	assert_int_equal(r.least_ms, 20);
	assert_false(r.pong_due);
}

/* Of several PINGs, the last is answered. */
static void test_pings_are_answered(void **state)
{
	struct rtt r = {0};
	uint8_t payload[FRAME_PING_BYTES];

	(void)state;
	assert_false(rtt_take_pong(&r, payload));
	receive(&r, 1, FRAME_PING, 0, (const uint8_t *)"abcdefgh", 8);
	receive(&r, 1, FRAME_PING, 0, (const uint8_t *)"ABCDEFGH", 8);
	receive(&r, 1, FRAME_PING, 0, (const uint8_t *)"1234567", 7);
	receive(&r, 1, FRAME_PING, 3, (const uint8_t *)"12345678", 8);
	assert_true(rtt_take_pong(&r, payload));
	assert_memory_equal(payload, "ABCDEFGH", 8);
	assert_false(rtt_take_pong(&r, payload));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_least_counts),
		cmocka_unit_test(test_a_quiet_path_is_measured_anew),
		cmocka_unit_test(test_bulk_is_not_quiet),
		cmocka_unit_test(test_one_is_under_way),
		cmocka_unit_test(test_pongs_that_do_not_count),
		cmocka_unit_test(test_pings_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
