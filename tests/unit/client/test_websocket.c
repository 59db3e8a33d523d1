/* Frames of a server, whole and byte by byte: messages, control frames between them, and each
 * way to break the rules. */
#include "client/websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { MOST = 300000 };

static char seen[4096]; /* events, a line each */

static void on_message(void *ctx, const uint8_t *data, size_t bytes)
{
	(void)ctx;
	snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "message %zu %.*s\n", bytes,
		 (int)(bytes < 20 ? bytes : 20), (const char *)data);
}

static void on_ping(void *ctx, const uint8_t *payload, size_t bytes)
{
	(void)ctx;
	snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "ping %.*s\n", (int)bytes,
		 (const char *)payload);
}

static void on_closed(void *ctx, int code, const uint8_t *reason, size_t bytes)
{
	(void)ctx;
	snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "closed %d %.*s\n", code,
		 (int)bytes, (const char *)reason);
}

static const struct websocket_events events = {on_message, on_ping, on_closed};

static int receive(const char *data, size_t bytes, size_t piece_bytes)
{
	struct websocket w;
	const char *why = "";
	int code = 0;

	*seen = '\0';
	websocket_init(&w, MOST, &events, NULL);
	for (size_t i = 0; i < bytes && code == 0; i += piece_bytes) {
		size_t count = bytes - i < piece_bytes ? bytes - i : piece_bytes;
		uint8_t *copy = malloc(count); /* so that a sanitizer sees its end */
		assert_non_null(copy);
		memcpy(copy, data + i, count);
		code = websocket_receive(&w, copy, count, &why);
		free(copy);
	}
	assert_int_equal(code != 0, *why != '\0');
	websocket_fini(&w);
	return code;
}

static const char *why_of(const char *data, size_t bytes)
{
	struct websocket w;
	const char *why = "";

	websocket_init(&w, MOST, &events, NULL);
	assert_int_equal(websocket_receive(&w, (const uint8_t *)data, bytes, &why), 1002);
	websocket_fini(&w);
	return why;
}

static void test_words_for_a_length(void **state)
{
	(void)state;
	assert_string_equal(why_of("\x82\x7f\x80\0\0\0\0\1\0\0", 10),
			    "length with its top bit set");
	assert_string_equal(why_of("\x82\x7f\0\0\0\0\0\0\xff\xff", 10),
			    "length not in its shortest form");
	assert_string_equal(why_of("\x82\x7e\0\x7d", 4), "length not in its shortest form");
}

#define ROW(bytes) bytes, sizeof bytes - 1

static void test_frames(void **state)
{
	static const struct {
		const char *data;
		size_t bytes;
		int code;
		const char *seen;
	} rows[] = {
		{ROW("\x81\5Hello"), 0, "message 5 Hello\n"},
		{ROW("\x82\0"), 0, "message 0 \n"},
		{ROW("\1\3Hel\x80\2lo"), 0, "message 5 Hello\n"},
		{ROW("\1\3Hel\x89\2hi\0\0\x80\2lo\x82\1x"), 0,
		 "ping hi\nmessage 5 Hello\nmessage 1 x\n"},
		{ROW("\x89\0\x8a\3abc"), 0, "ping \n"},
		{ROW("\x88\0\x81\5Hello"), 0, "closed 1005 \n"},
		{ROW("\x88\x0f\3\xf0Invalid token"), 0, "closed 1008 Invalid token\n"},
		{ROW("\1\1a\x88\2\3\xe8"), 0, "closed 1000 \n"},
		{ROW("\x88\2\x0f\xa0"), 0, "closed 4000 \n"},
		{ROW("\x81\2\xc3\xa9"), 0, "message 2 \xc3\xa9\n"},
		{ROW("\1\1\xc3\x80\1\xa9"), 0, "message 2 \xc3\xa9\n"},
		{ROW("\x81\1\xc3"), 1007, ""},
		{ROW("\x82\1\xc3"), 0, "message 1 \xc3\n"},
		{ROW("\x88\3\3\xe8\xc3"), 1007, ""},
		{ROW("\x88\1x"), 1002, ""},
		{ROW("\x88\2\3\xe7"), 1002, ""},
		{ROW("\x88\2\3\xed"), 1002, ""},
		{ROW("\x88\2\3\xee"), 1002, ""},
		{ROW("\x88\2\3\xf7"), 1002, ""},
		{ROW("\x88\2\x13\x88"), 1002, ""},
		{ROW("\xc1\5Hello"), 1002, ""},
		{ROW("\xa2\0"), 1002, ""},
		{ROW("\x91\5Hello"), 1002, ""},
		{ROW("\x81\x85KEY!Hello"), 1002, ""},
		{ROW("\x83\0"), 1002, ""},
		{ROW("\x8b\0"), 1002, ""},
		{ROW("\x80\2lo"), 1002, ""},
		{ROW("\1\1a\x81\1b"), 1002, ""},
		{ROW("\x09\1a"), 1002, ""},
		{ROW("\x08\0"), 1002, ""},
		{ROW("\x89\x7e\0\x7e"), 1002, ""},
		{ROW("\x82\x7e\0\x7d"), 1002, ""},
		{ROW("\x82\x7f\0\0\0\0\0\0\xff\xff"), 1002, ""},
		{ROW("\x82\x7f\x80\0\0\0\0\0\0\0"), 1002, ""},
		{ROW("\x82\x7f\0\0\0\0\0\4\x93\xe1"), 1009, ""}, /* MOST + 1 */
		{ROW("\2\1a\x80\x7f\0\0\0\0\0\4\x93\xe0"), 1009, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t piece = 1; piece <= rows[i].bytes; piece++) {
			int code = receive(rows[i].data, rows[i].bytes, piece);
			if (code != rows[i].code || strcmp(seen, rows[i].seen) != 0)
				fail_msg("row %zu, pieces of %zu: %d, %s", i, piece, code, seen);
		}
	}
}

static void expect_length(size_t bytes, const char *head, size_t head_bytes)
{
	char *data = calloc(1, head_bytes + bytes + 1), text[64];
	static const size_t pieces[] = {1000, 65536, 131072, 1 << 20};

	assert_non_null(data);
	memcpy(data, head, head_bytes);
	memset(data + head_bytes, 'x', bytes);
	snprintf(text, sizeof text, "message %zu xxxxxxxxxxxxxxxxxxxx\n", bytes);
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
		assert_int_equal(receive(data, head_bytes + bytes, pieces[i]), 0);
		assert_string_equal(seen, text);
	}
	free(data);
}

static void test_lengths(void **state)
{
	(void)state;
	expect_length(125, ROW("\x82\x7d"));
	expect_length(126, ROW("\x82\x7e\0\x7e"));
	expect_length(65535, ROW("\x82\x7e\xff\xff"));
	expect_length(65536, ROW("\x82\x7f\0\0\0\0\0\1\0\0"));
	expect_length(MOST, ROW("\x82\x7f\0\0\0\0\0\4\x93\xe0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_words_for_a_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
