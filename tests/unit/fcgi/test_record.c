/* fcgi/record.c: which bytes are a whole request, and the records of a response. */
#include "fcgi/record.h"

#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { BEGIN = 1, ABORT = 2, PARAMS = 4, STDIN = 5 };

/* What a record of output holds at most. */
enum { MOST = 64 * 1024 - 8 };

static struct buf wire;

static void put(uint8_t type, uint8_t id, size_t bytes, uint8_t padding_bytes)
{
	uint8_t *at = buf_extend(&wire, 8 + bytes + padding_bytes);

	memset(at, 0, 8 + bytes + padding_bytes);
	at[0] = 1;
	at[1] = type;
	at[3] = id;
	put_be16(at + 4, (uint16_t)bytes);
	at[6] = padding_bytes;
}

static enum record_state state(void)
{
	return record_state(wire.data, wire.end);
}

static int empty(void **unused)
{
	(void)unused;
	buf_fini(&wire);
	return 0;
}

static void a_request_comes_in_pieces(void **unused)
{
	(void)unused;
	assert_int_equal(record_state(NULL, 0), RECORD_INCOMPLETE);
	put(BEGIN, 1, 8, 0);
	assert_int_equal(state(), RECORD_INCOMPLETE);
	put(PARAMS, 1, 300, 4);
	put(PARAMS, 1, 20, 0);
	assert_int_equal(state(), RECORD_INCOMPLETE);
	put(PARAMS, 1, 0, 0);
	assert_int_equal(state(), RECORD_PARAMETERS);
	put(STDIN, 1, 1000, 0);
	assert_int_equal(state(), RECORD_PARAMETERS);
	put(STDIN, 1, 0, 0);
	assert_int_equal(state(), RECORD_WHOLE);
	for (size_t i = 0; i < wire.end; i++)
		assert_int_not_equal(record_state(wire.data, i), RECORD_WHOLE);
}

static void anything_else_is_odd(void **unused)
{
	(void)unused;
	put(PARAMS, 1, 0, 0);
	assert_int_equal(state(), RECORD_UNEXPECTED); /* no beginning */
	empty(NULL);
	put(BEGIN, 1, 8, 0);
	put(PARAMS, 2, 0, 0);
	assert_int_equal(state(), RECORD_UNEXPECTED); /* of another request */
	empty(NULL);
	put(BEGIN, 1, 8, 0);
	put(ABORT, 1, 0, 0);
	assert_int_equal(state(), RECORD_UNEXPECTED);
	empty(NULL);
	put(BEGIN, 1, 8, 0);
	put(PARAMS, 1, 0, 0);
	put(STDIN, 1, 0, 0);
	put(BEGIN, 1, 8, 0);
	assert_int_equal(state(), RECORD_UNEXPECTED); /* two at a time */
	empty(NULL);
	put(BEGIN, 1, 8, 0);
	wire.data[0] = 2;
	assert_int_equal(state(), RECORD_UNEXPECTED);
	empty(NULL);
	put(BEGIN, 1, 8, 8);
	assert_int_equal(state(), RECORD_UNEXPECTED); /* libfcgi reads on in the padding */
	empty(NULL);
	put(BEGIN, 1, 8, 0);
	put(PARAMS, 1, 0, 8);
	assert_int_equal(state(), RECORD_UNEXPECTED);
}

/* Reads a body out of the wire, which arrives in pieces of `piece_bytes`; returns its length. */
static size_t read_body(struct record_body *b, size_t piece_bytes)
{
	size_t at = 0, body_bytes = 0;

	for (size_t arrived = 0; at < wire.end && !b->ended && !b->broken;) {
		arrived = arrived + piece_bytes < wire.end ? arrived + piece_bytes : wire.end;
		for (size_t before = at + 1; before != at;) {
			before = at;
			at += record_body_next(b, wire.data + at, arrived - at);
			size_t some =
				b->content_bytes < arrived - at ? b->content_bytes : arrived - at;
			b->content_bytes -= some;
			body_bytes += some;
			at += some;
		}
		if (arrived == wire.end)
			break;
	}
	return body_bytes;
}

static void a_body_is_read_in_any_pieces(void **unused)
{
	(void)unused;
	put(STDIN, 1, 1000, 0);
	put(STDIN, 2, 7, 3); /* of another request */
	put(ABORT, 2, 0, 0);
	put(STDIN, 1, 1, 255);
	put(STDIN, 1, 0, 8);
	for (size_t piece_bytes = 1; piece_bytes <= wire.end; piece_bytes++) {
		struct record_body b = {.request_id = 1};
		assert_int_equal(read_body(&b, piece_bytes), 1001);
		assert_true(b.ended && !b.broken);
		assert_int_equal(b.ignored_bytes, 8);
	}
}

static void a_body_is_broken_by_what_may_not_come(void **unused)
{
	static const uint8_t types[] = {BEGIN, ABORT, PARAMS};

	(void)unused;
	for (size_t i = 0; i < sizeof types; i++) {
		struct record_body b = {.request_id = 1};
		empty(NULL);
		put(STDIN, 1, 3, 0);
		put(types[i], 1, 8, 0);
		assert_int_equal(read_body(&b, wire.end), 3);
		assert_true(b.broken);
	}
	struct record_body b = {.request_id = 1};
	empty(NULL);
	put(BEGIN, 2, 8, 0);
	assert_int_equal(read_body(&b, wire.end), 0);
	assert_true(b.broken);
}

/* Skips as much of the wire as can be, which arrives in pieces. */
static size_t skip_rest(struct record_body *b, size_t piece_bytes)
{
	size_t at = 0;

	for (size_t arrived = 0; arrived < wire.end;) {
		arrived = arrived + piece_bytes < wire.end ? arrived + piece_bytes : wire.end;
		at += record_body_skip(b, wire.data + at, arrived - at);
	}
	return at;
}

static void the_rest_of_a_request_is_skipped(void **unused)
{
	size_t rest_bytes;

	(void)unused;
	put(STDIN, 1, 200, 8);
	put(ABORT, 1, 0, 0);
	put(STDIN, 1, 0, 0);
	put(STDIN, 3, 0, 0);
	rest_bytes = wire.end;
	put(BEGIN, 1, 8, 0);
	put(PARAMS, 1, 0, 0);
	for (size_t piece_bytes = 1; piece_bytes <= wire.end; piece_bytes++) {
		/* The first record was begun: 50 bytes of it have been read. */
		struct record_body b = {.request_id = 1, .content_bytes = 150, .ignored_bytes = 8};
		uint8_t *data = wire.data;
		wire.data += 8 + 50;
		wire.end -= 8 + 50;
		assert_int_equal(skip_rest(&b, piece_bytes), rest_bytes - (8 + 50));
		wire.data = data;
		wire.end += 8 + 50;
		assert_true(b.ended);
		assert_int_equal(b.ignored_bytes, 0);
	}
}

static void what_is_for_libfcgi_is_not_skipped(void **unused)
{
	struct record_body b = {.request_id = 1};

	(void)unused;
	put(9, 0, 0, 0); /* FCGI_GET_VALUES */
	assert_int_equal(skip_rest(&b, wire.end), 0);
	empty(NULL);
	put(STDIN, 1, 0, 0);
	put(STDIN, 1, 0, 0);
	wire.data[8] = 2; /* no version 1 */
	assert_int_equal(skip_rest(&b, wire.end), 8);
}

/* `bytes` in all, in no more records of at most 64 KiB than it takes, and none empty. */
static void check_output(size_t bytes)
{
	size_t records = (bytes + MOST - 1) / MOST;

	for (size_t at = 0; at < wire.end; at += 8 + get_be16(wire.data + at + 4)) {
		assert_int_equal(wire.data[at], 1);
		assert_int_equal(wire.data[at + 1], 6);
		assert_int_equal(get_be16(wire.data + at + 2), 7);
		assert_in_range(get_be16(wire.data + at + 4), 1, MOST);
		assert_int_equal(wire.data[at + 6], 0);
		bytes -= get_be16(wire.data + at + 4);
		records--;
	}
	assert_int_equal(bytes, 0);
	assert_int_equal(records, 0);
}

static void output_is_as_few_records_as_can_be(void **unused)
{
	static const uint8_t data[200000];
	static const size_t sizes[] = {0, 1, 7, MOST - 1, MOST, MOST + 1, 2 * MOST, 200000};
	static const size_t heads[] = {0, 1, 300, MOST, MOST + 1};

	(void)unused;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (size_t k = 0; k < sizeof heads / sizeof heads[0]; k++) {
			size_t open_bytes = 0;
			empty(NULL);
			record_put_output(&wire, &open_bytes, 7, data, heads[k]);
			record_put_output(&wire, &open_bytes, 7, data, sizes[i]);
			check_output(heads[k] + sizes[i]);
		}
	}
}

static void what_was_sent_does_not_grow(void **unused)
{
	size_t open_bytes = 0;

	(void)unused;
	record_put_output(&wire, &open_bytes, 7, "abc", 3);
	buf_consume(&wire, 9);
	open_bytes = 0;
	record_put_output(&wire, &open_bytes, 7, "de", 2);
	assert_int_equal(buf_bytes(&wire), 2 + 8 + 2);
	assert_memory_equal(buf_first(&wire), "bc\1\6\0\7\0\2\0\0de", 12);
}

static void the_end_is_one_record(void **unused)
{
	static const uint8_t expected[16] = {1, 3, 0, 7, 0, 8};

	(void)unused;
	record_put_end(&wire, 7);
	assert_int_equal(wire.end, sizeof expected);
	assert_memory_equal(wire.data, expected, sizeof expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_request_comes_in_pieces, empty),
		cmocka_unit_test_teardown(anything_else_is_odd, empty),
		cmocka_unit_test_teardown(a_body_is_read_in_any_pieces, empty),
		cmocka_unit_test_teardown(a_body_is_broken_by_what_may_not_come, empty),
		cmocka_unit_test_teardown(the_rest_of_a_request_is_skipped, empty),
		cmocka_unit_test_teardown(what_is_for_libfcgi_is_not_skipped, empty),
		cmocka_unit_test_teardown(output_is_as_few_records_as_can_be, empty),
		cmocka_unit_test_teardown(what_was_sent_does_not_grow, empty),
		cmocka_unit_test_teardown(the_end_is_one_record, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
