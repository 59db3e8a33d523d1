/* Blocks that cost memory only where they have been written to. */
#include "broker/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { BYTES = 70000, COUNT = 3 };

static void test_each_is_given_once(void **state)
{
	struct slab *s = slab_new(BYTES, COUNT);
	uint8_t *taken[COUNT];
	int outside;

	(void)state;
	assert_non_null(s);
	for (size_t i = 0; i < COUNT; i++) {
		taken[i] = slab_alloc(s);
		assert_non_null(taken[i]);
		assert_true(slab_owns(s, taken[i]) && (uintptr_t)taken[i] % 16 == 0);
		memset(taken[i], (int)i + 1, BYTES);
	}
	assert_null(slab_alloc(s));
	for (size_t i = 0; i < COUNT; i++) /* none lies over another */
		assert_true(taken[i][0] == i + 1 && taken[i][BYTES - 1] == i + 1);
	assert_false(slab_owns(s, &outside));
	assert_false(slab_owns(s, NULL));

	slab_free(s, taken[1]);
	assert_ptr_equal(slab_alloc(s), taken[1]);
	assert_int_equal(taken[1][0], 0); /* its memory had gone back */
	assert_null(slab_alloc(s));

	taken[1][100] = 7;
	slab_wipe(s, taken[1] + 16);
	slab_wipe(s, &outside);
	assert_true(taken[0][0] == 1 && taken[1][100] == 0 && taken[2][0] == 3);
	slab_destroy(&s);
	assert_null(s);
	slab_destroy(&s);
}

static void test_more_than_there_can_be(void **state)
{
	(void)state;
	assert_null(slab_new(SIZE_MAX / 8, 65536));
	assert_null(slab_new((size_t)1 << 46, 256));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_is_given_once),
		cmocka_unit_test(test_more_than_there_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
