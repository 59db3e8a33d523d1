/* How a connection of the tunnel ended: the first cause counts, and the log gets it in one
 * piece. */
#include "client/link_end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static void test_the_first_cause_counts(void **state)
{
	struct link_end e = {0};

	(void)state;
	link_end_set(&e, 1008, "Token expired", 13);
	link_end_set(&e, 1000, "client stops", 12);
	link_end_set_words(&e, 1006, false, "the connection broke");
	assert_int_equal(e.cause.code, 1008);
	assert_int_equal(e.cause.reason_bytes, 13);
	assert_memory_equal(e.cause.reason, "Token expired", 13);
	assert_string_equal(e.shown, "Token expired");
	link_end_reset(&e);
	link_end_set_words(&e, 401, true, "the server responded with HTTP 401");
	assert_true(e.cause.by_http && e.cause.code == 401 && e.cause.reason_bytes == 0);
	assert_string_equal(e.shown, "the server responded with HTTP 401");
}

static void test_a_reason_is_bounded_and_quoted(void **state)
{
	char reason[200];
	struct link_end e = {0};

	(void)state;
	memset(reason, 'x', sizeof reason);
	link_end_set(&e, 1000, reason, sizeof reason);
	assert_int_equal(e.cause.reason_bytes, 123);
	link_end_reset(&e);
	link_end_set(&e, 1000, "a\nb \"c\"", 7);
	assert_null(strchr(e.shown, '\n'));
	link_end_reset(&e);
	link_end_set(&e, 1005, NULL, 0);
	assert_string_equal(e.shown, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_cause_counts),
		cmocka_unit_test(test_a_reason_is_bounded_and_quoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
