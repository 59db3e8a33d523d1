/* Flow control of one v2 stream: the laws of both windows, and both ends joined. */
#include "common/bytes.h"
#include "common/flow.h"
#include "common/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { WINDOW = FRAME_WINDOW_BYTES, LOT = WINDOW / 4 };

static bool widen(struct flow *f, uint32_t bytes)
{
	uint8_t payload[4];

	put_be32(payload, bytes);
	return flow_on_window(f, payload, sizeof payload);
}

static void test_pieces(void **state)
{
	struct flow f;

	(void)state;
	flow_init(&f, 20000, WINDOW);
	assert_int_equal(flow_piece_bytes(&f, 0), 0);
	assert_int_equal(flow_piece_bytes(&f, 7), 7);
	assert_int_equal(flow_piece_bytes(&f, 1 << 20), FRAME_DATA_BYTES);
	flow_sent(&f, FRAME_DATA_BYTES);
	assert_int_equal(flow_piece_bytes(&f, 1 << 20), 20000 - FRAME_DATA_BYTES);
	flow_sent(&f, 20000 - FRAME_DATA_BYTES);
	assert_int_equal(flow_piece_bytes(&f, 1 << 20), 0);
	assert_true(widen(&f, 1));
	assert_int_equal(flow_piece_bytes(&f, 1 << 20), 1);
}

static void test_window_frames(void **state)
{
	struct flow f;

	(void)state;
	flow_init(&f, 65536, WINDOW);
	assert_true(widen(&f, 0));
	assert_true(widen(&f, INT32_MAX - 65536));
	assert_false(widen(&f, 1));
	assert_int_equal(f.send_bytes, INT32_MAX);
	flow_init(&f, 65536, WINDOW);
	assert_false(widen(&f, UINT32_MAX));
	assert_false(flow_on_window(&f, (const uint8_t *)"\0\0\1", 3));
	assert_false(flow_on_window(&f, (const uint8_t *)"\0\0\0\0\1", 5));
	assert_false(flow_on_window(&f, NULL, 0));
	assert_int_equal(f.send_bytes, 65536);
}

static void test_receiving(void **state)
{
	struct flow f;

	(void)state;
	flow_init(&f, 0, WINDOW);
	assert_false(flow_received(&f, WINDOW + 1));
	assert_true(flow_received(&f, WINDOW));
	assert_false(flow_received(&f, 1));
	assert_true(flow_received(&f, 0));
	assert_int_equal(flow_grant(&f, WINDOW, WINDOW - LOT + 1), 0);
	assert_int_equal(flow_grant(&f, WINDOW, WINDOW - LOT), LOT);
	assert_int_equal(flow_grant(&f, WINDOW, WINDOW - LOT), 0);
	assert_true(flow_received(&f, LOT));
	assert_false(flow_received(&f, 1));
}

/* Where memory is short the window shrinks: what is consumed is granted only below the smaller
 * one. */
static void test_a_window_that_shrinks(void **state)
{
	struct flow f;

	(void)state;
	flow_init(&f, 0, WINDOW);
	assert_true(flow_received(&f, WINDOW));
	assert_int_equal(flow_grant(&f, LOT, WINDOW - LOT), 0);
	assert_int_equal(flow_grant(&f, LOT, LOT), 0);
	assert_int_equal(flow_grant(&f, LOT, LOT / 2), LOT / 2);
	assert_int_equal(flow_grant(&f, WINDOW, 0), WINDOW - LOT / 2);
}

/* A whole body through both ends, with a window and pieces of any size: everything arrives, and
 * never is more held than a window. */
static void test_both_ends(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct flow sender, receiver;
		size_t left = 3 * 1024 * 1024, held = 0, arrived = 0;
		flow_init(&sender, WINDOW, 0);
		flow_init(&receiver, 0, WINDOW);
		while (arrived < 3 * 1024 * 1024) {
			size_t piece = flow_piece_bytes(&sender, left);
			size_t taken = (size_t)(rand_r(&seed) % 70000);
			flow_sent(&sender, piece);
			assert_true(flow_received(&receiver, piece));
			left -= piece;
			held += piece;
			taken = taken < held ? taken : held;
			held -= taken;
			arrived += taken;
			assert_true(held <= WINDOW);
			uint32_t grant = flow_grant(&receiver, WINDOW, held);
			if (grant > 0) {
				assert_true(grant >= LOT);
				assert_true(widen(&sender, grant));
			}
			assert_int_equal(sender.send_bytes, receiver.receive_bytes);
		}
		assert_int_equal(left, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),	  cmocka_unit_test(test_window_frames),
		cmocka_unit_test(test_receiving), cmocka_unit_test(test_a_window_that_shrinks),
		cmocka_unit_test(test_both_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
