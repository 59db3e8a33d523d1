/* Frames of a client: the example of RFC 6455 5.7, and every form of length. Frame boundaries in a
 * stream. */
#include "common/wsframe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static const uint8_t key[WSFRAME_KEY_BYTES] = {0x37, 0xfa, 0x21, 0x3d};

static void test_example(void **state)
{
	uint8_t room[WSFRAME_HEAD_BYTES + 5];
	size_t bytes;

	(void)state;
	memcpy(room + WSFRAME_HEAD_BYTES, "Hello", 5);
	const uint8_t *frame =
		wsframe_write(room + WSFRAME_HEAD_BYTES, 5,
			      &(struct wsframe_piece){true, true, true}, key, &bytes);
	assert_int_equal(bytes, 11);
	assert_memory_equal(frame, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
}

static void expect(size_t bytes, const struct wsframe_piece *piece, const char *head,
		   size_t head_bytes)
{
	/* So that a sanitizer sees its ends. */
	uint8_t *room = calloc(1, WSFRAME_HEAD_BYTES + bytes);
	size_t frame_bytes;

	assert_non_null(room);
	for (size_t i = 0; i < bytes; i++)
		room[WSFRAME_HEAD_BYTES + i] = (uint8_t)(i * 7);
	const uint8_t *at =
		wsframe_write(room + WSFRAME_HEAD_BYTES, bytes, piece, key, &frame_bytes);
	assert_int_equal(frame_bytes, head_bytes + sizeof key + bytes);
	assert_memory_equal(at, head, head_bytes);
	at += head_bytes;
	assert_memory_equal(at, key, sizeof key);
	at += sizeof key;
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(at[i] ^ key[i % 4], (uint8_t)(i * 7));
	free(room);
}

static void test_lengths(void **state)
{
	const struct wsframe_piece whole = {false, true, true}, middle = {false, false, false},
				   begin = {true, true, false}, end = {true, false, true};

	(void)state;
	expect(0, &whole, "\x82\x80", 2);
	expect(125, &middle, "\x00\xfd", 2);
	expect(126, &begin, "\x01\xfe\x00\x7e", 4);
	expect(65535, &end, "\x80\xfe\xff\xff", 4);
	expect(65536, &whole, "\x82\xff\0\0\0\0\0\1\0\0", 10);
	for (size_t bytes = 1; bytes < 40; bytes++) {
		char head[2] = {'\x82', (char)(0x80 | bytes)};
		expect(bytes, &whole, head, 2);
	}
}

/* Scans a frame in two pieces, cut at each place: the boundary is found at its end only. */
static void expect_boundary(const char *head, size_t head_bytes, size_t payload_bytes)
{
	size_t bytes = head_bytes + payload_bytes;
	uint8_t *frame = calloc(1, bytes);

	assert_non_null(frame);
	memcpy(frame, head, head_bytes);
	for (size_t cut = 1; cut < bytes; cut += cut < 20 ? 1 : 997) {
		struct wsframe_scanner s = {0};
		assert_true(wsframe_scanner_is_between(&s));
		wsframe_scan(&s, frame, cut);
		assert_false(wsframe_scanner_is_between(&s));
		wsframe_scan(&s, frame + cut, bytes - cut);
		assert_true(wsframe_scanner_is_between(&s));
		/* Two frames in one piece; then half of one. */
		wsframe_scan(&s, frame, bytes);
		assert_true(wsframe_scanner_is_between(&s));
		wsframe_scan(&s, frame, bytes - 1);
		assert_false(wsframe_scanner_is_between(&s));
	}
	free(frame);
}

static void test_boundaries(void **state)
{
	(void)state;
	expect_boundary("\x89\0", 2, 0);
	expect_boundary("\x8a\x80"
			"abcd",
			6, 0);
	expect_boundary("\x01\x7d", 2, 125);
	expect_boundary("\x80\xfd"
			"abcd",
			6, 125);
	expect_boundary("\x82\x7e\0\x7e", 4, 126);
	expect_boundary("\x82\xfe\xff\xff"
			"abcd",
			8, 65535);
	expect_boundary("\x82\x7f\0\0\0\0\0\1\0\0", 10, 65536);
	expect_boundary("\x82\xff\0\0\0\0\0\1\0\0"
			"abcd",
			14, 65536);
	/* The longest form may have a short length. */
	expect_boundary("\x82\x7f\0\0\0\0\0\0\0\3", 10, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_example),
					   cmocka_unit_test(test_lengths),
					   cmocka_unit_test(test_boundaries)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
