/* fcgi/quota.c: one connection id leaves slots to the others, whatever it asks for. */
#include "fcgi/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { SLOTS = 1000 };

/* As many as it is given. */
static size_t reserve_all(struct quota *q, const char *id)
{
	size_t count = 0;

	while (quota_reserve(q, id))
		count++;
	return count;
}

static void release_all(struct quota *q, const char *id, size_t count)
{
	while (count-- > 0)
		quota_release(q, id);
}

static void one_id_alone_gets_three_quarters(void **unused)
{
	struct quota *q = quota_new(SLOTS);

	(void)unused;
	assert_int_equal(reserve_all(q, "a"), SLOTS * 3 / 4);
	assert_true(quota_reserve(q, "b"));
	quota_release(q, "b");
	release_all(q, "a", SLOTS * 3 / 4);
	quota_destroy(&q);
}

static void two_ids_that_take_in_turns_get_the_same(void **unused)
{
	struct quota *q = quota_new(SLOTS);
	size_t a = 0, b = 0;
	bool more = true;

	(void)unused;
	while (more) {
		bool given = quota_reserve(q, "a");
		a += given;
		more = given;
		given = quota_reserve(q, "b");
		b += given;
		more = more || given;
	}
	assert_in_range(a, SLOTS * 3 / 7 - 1, SLOTS * 3 / 7 + 1);
	assert_in_range(b, SLOTS * 3 / 7 - 1, SLOTS * 3 / 7 + 1);
	assert_true(quota_reserve(q, "c"));
	quota_release(q, "c");
	release_all(q, "a", a);
	release_all(q, "b", b);
	quota_destroy(&q);
}

static void something_is_left_for_each_of_many(void **unused)
{
	struct quota *q = quota_new(SLOTS);
	size_t counts[4];
	char id[4];

	(void)unused;
	for (int i = 0; i < 4; i++) {
		snprintf(id, sizeof id, "%d", i);
		counts[i] = reserve_all(q, id);
		assert_true(counts[i] > 0);
	}
	for (int i = 0; i < 4; i++) {
		snprintf(id, sizeof id, "%d", i);
		release_all(q, id, counts[i]);
	}
	quota_destroy(&q);
}

static void what_is_released_can_be_had_again(void **unused)
{
	struct quota *q = quota_new(4);

	(void)unused;
	assert_int_equal(reserve_all(q, "a"), 3);
	quota_release(q, "a");
	assert_true(quota_reserve(q, "a"));
	assert_false(quota_reserve(q, "a"));
	release_all(q, "a", 3);
	assert_int_equal(reserve_all(q, "a"), 3);
	release_all(q, "a", 3);
	quota_destroy(&q);
}

static void a_single_slot_serves_anybody(void **unused)
{
	struct quota *q = quota_new(1);

	(void)unused;
	assert_true(quota_reserve(q, "a"));
	assert_false(quota_reserve(q, "b"));
	quota_release(q, "a");
	assert_true(quota_reserve(q, "b"));
	quota_release(q, "b");
	quota_destroy(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_id_alone_gets_three_quarters),
		cmocka_unit_test(two_ids_that_take_in_turns_get_the_same),
		cmocka_unit_test(something_is_left_for_each_of_many),
		cmocka_unit_test(what_is_released_can_be_had_again),
		cmocka_unit_test(a_single_slot_serves_anybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
