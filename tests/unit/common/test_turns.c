/* common/turns.c: whose frame goes next. */
#include "common/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { STREAMS = 8, FRAME_BYTES = 16 * 1024 };

static struct turns all;
static struct turn streams[STREAMS];

static int set_up(void **state)
{
	(void)state;
	turns_init(&all);
	memset(streams, 0, sizeof streams);
	return 0;
}

/* The number of the one that sends next. */
static int sends(size_t bytes, bool has_more)
{
	struct turn *t = turns_next(&all);

	assert_non_null(t);
	turns_sent(&all, t, bytes, has_more);
	return (int)(t - streams);
}

static void test_an_empty_queue(void **state)
{
	(void)state;
	assert_null(turns_next(&all));
	turns_add(&all, &streams[0]);
	turns_add(&all, &streams[0]);
	assert_int_equal(sends(1, false), 0);
	assert_null(turns_next(&all));
	turns_remove(&streams[0]);
	turns_add(&all, &streams[1]);
	turns_remove(&streams[1]);
	assert_null(turns_next(&all));
}

static void test_each_its_turn(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		turns_add(&all, &streams[i]);
	for (int i = 0; i < 30; i++)
		assert_int_equal(sends(FRAME_BYTES, true), i % 3);
	turns_remove(&streams[1]);
	for (int i = 0; i < 30; i++)
		assert_int_equal(sends(FRAME_BYTES, true), i % 2 * 2);
}

static void test_a_new_one_goes_ahead(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		turns_add(&all, &streams[i]);
	for (int i = 0; i < 5; i++)
		assert_int_equal(sends(FRAME_BYTES, true), i % 4);
	turns_add(&all, &streams[6]);
	turns_add(&all, &streams[5]);
	assert_int_equal(sends(300, false), 6);
	assert_int_equal(sends(FRAME_BYTES, true), 5); /* from now on it is one of the others */
	for (int i = 0; i < 4; i++)
		assert_int_equal(sends(FRAME_BYTES, true), (i + 1) % 4);
	assert_int_equal(sends(FRAME_BYTES, true), 5);
	turns_add(&all, &streams[5]); /* it waits already, and stays where it is */
	assert_int_equal(sends(FRAME_BYTES, true), 1);
}

/* However many new ones there are, the others have a fifth. */
static void test_those_that_wait_again_keep_a_share(void **state)
{
	size_t new_bytes = 0, old_bytes = 0, since_bytes = 0;

	(void)state;
	turns_add(&all, &streams[0]);
	assert_int_equal(sends(FRAME_BYTES, true), 0);
	for (int i = 0; i < 1000; i++) {
		size_t bytes = i % 3 == 0 ? FRAME_BYTES : 300;
		for (int k = 1; k < STREAMS; k++)
			turns_add(&all, &streams[k]);
		bool old = sends(bytes, turns_next(&all) == &streams[0]) == 0;
		new_bytes += old ? 0 : bytes;
		old_bytes += old ? FRAME_BYTES : 0;
		since_bytes = old ? 0 : since_bytes + bytes;
		assert_true(since_bytes < TURNS_AHEAD_BYTES + FRAME_BYTES);
	}
	assert_true(old_bytes * 6 >= new_bytes && old_bytes * 2 <= new_bytes);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_empty_queue),
		TEST(test_each_its_turn),
		TEST(test_a_new_one_goes_ahead),
		TEST(test_those_that_wait_again_keep_a_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
