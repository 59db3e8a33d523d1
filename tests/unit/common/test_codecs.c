/* The wire codecs: decoding returns what was encoded, and no bytes can do harm. */
#include "common/b64.h"
#include "common/bytes.h"
#include "common/frame.h"
#include "common/gate_msg.h"
#include "common/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void head_keeps_order_and_duplicates(void **state)
{
	static const char *const fields[][2] = {
		{":method", "GET"}, {"x-dup", "1"}, {"x-empty", ""}, {"x-dup", "2"}};
	struct head h = {0};
	struct head_reader r;
	struct head_field f;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		head_add(&h, fields[i][0], fields[i][1]);
	assert_true(head_valid(h.data, h.bytes));
	head_reader_init(&r, h.data, h.bytes);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(head_next(&r, &f), 1);
		assert_true(field_is(&f, fields[i][0]));
		assert_int_equal(f.value_bytes, strlen(fields[i][1]));
		assert_memory_equal(f.value, fields[i][1], f.value_bytes);
	}
	assert_int_equal(head_next(&r, &f), 0);
	head_fini(&h);
}

static void head_refuses_every_cut(void **state)
{
	struct head h = {0};

	(void)state;
	head_add(&h, "name", "value");
	for (size_t bytes = 1; bytes < h.bytes; bytes++)
		assert_false(head_valid(h.data, bytes));
	put_be32(h.data + 2, UINT32_MAX);
	assert_false(head_valid(h.data, h.bytes));
	put_be16(h.data, 0);
	assert_false(head_valid(h.data, h.bytes));
	head_fini(&h);
}

static void gate_round_trip(void **state)
{
	struct gate_msg in = {.kind = GATE_OPEN,
			      .flags = GATE_BODY_END,
			      .seat = 0x1234,
			      .number = 10000,
			      .boot = 1,
			      .process = 2,
			      .body_total_bytes = 3,
			      .id = "abc",
			      .id_bytes = 3,
			      .head = (const uint8_t *)"hd",
			      .head_bytes = 2,
			      .body = (const uint8_t *)"body",
			      .body_bytes = 4};
	struct gate_msg out;
	uint8_t wire[256];
	size_t bytes = gate_msg_bytes(&in);

	(void)state;
	memset(in.corr, 7, sizeof in.corr);
	gate_msg_encode(&in, wire);
	assert_true(gate_msg_decode(wire, bytes, &out));
	assert_int_equal(out.kind, GATE_OPEN);
	assert_int_equal(out.seat, 0x1234);
	assert_int_equal(out.number, 10000);
	assert_int_equal(out.process, 2);
	assert_memory_equal(out.corr, in.corr, sizeof in.corr);
	assert_memory_equal(out.id, "abc", 3);
	assert_memory_equal(out.head, "hd", 2);
	assert_int_equal(out.body_bytes, 4);
	assert_memory_equal(out.body, "body", 4);
	for (size_t cut = 0; cut < GATE_CONTROL_BYTES + 5; cut++)
		assert_false(gate_msg_decode(wire, cut, &out));
	wire[0] = 9;
	assert_false(gate_msg_decode(wire, bytes, &out));
}

static void frame_bounds(void **state)
{
	uint8_t wire[FRAME_HEADER_BYTES + 5];
	struct frame f;
	size_t used;

	(void)state;
	frame_put_header(wire, FRAME_DATA, FRAME_END, 77, 5);
	memcpy(wire + FRAME_HEADER_BYTES, "hello", 5);
	for (size_t cut = 0; cut < sizeof wire; cut++)
		assert_int_equal(frame_get(wire, cut, &f, &used), 0);
	assert_int_equal(frame_get(wire, sizeof wire, &f, &used), 1);
	assert_int_equal(used, sizeof wire);
	assert_int_equal(f.stream, 77);
	assert_memory_equal(f.payload, "hello", 5);
	put_be32(wire + 8, FRAME_MAX_PAYLOAD_BYTES + 1);
	assert_int_equal(frame_get(wire, sizeof wire, &f, &used), -1);
}

static void base64_strict(void **state)
{
	static const char *const bad[] = {
		"A", "AA", "AAA", "A A=", "AA=A", "====", "AAA\n", "é==="};
	size_t bytes;

	(void)state;
	for (size_t length = 0; length < 50; length++) {
		uint8_t data[50];
		size_t text_bytes;
		for (size_t i = 0; i < length; i++)
			data[i] = (uint8_t)(i * 37 + length);
		char *text = b64_encode(data, length, &text_bytes);
		uint8_t *back = b64_decode(text, text_bytes, &bytes);
		assert_non_null(back);
		assert_int_equal(bytes, length);
		assert_memory_equal(back, data, length);
		free(text);
		free(back);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(b64_decode(bad[i], strlen(bad[i]), &bytes));
}

static void base64_in_pieces(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t data[50], back[52];

	(void)state;
	for (int c = 0; c < 256; c++)
		assert_int_equal(b64_is_digit((uint8_t)c), c != 0 && strchr(digits, c) != NULL);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 37);
	for (size_t length = 1; length <= sizeof data; length++) {
		for (size_t first = 3; first < length; first += 3) {
			char pieces[70], *text;
			size_t text_bytes;
			memset(pieces, '!', sizeof pieces);
			b64_encode_piece(data, first, pieces);
			b64_encode_piece(data + first, length - first, pieces + first / 3 * 4);
			text = b64_encode(data, length, &text_bytes);
			assert_memory_equal(pieces, text, text_bytes);
			assert_int_equal(pieces[text_bytes], '!'); /* no NUL follows */
			assert_true(b64_decode_piece(text, text_bytes, back));
			assert_memory_equal(back, data, length);
			free(text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_keeps_order_and_duplicates),
		cmocka_unit_test(head_refuses_every_cut),
		cmocka_unit_test(gate_round_trip),
		cmocka_unit_test(frame_bounds),
		cmocka_unit_test(base64_strict),
		cmocka_unit_test(base64_in_pieces),
	};

	return cmocka_run_group_tests_name("common/codecs", tests, NULL, NULL);
}
