/* What of a request goes out when the kernel takes little at a time, and the owner gives little. */
#include "client/request_sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

/* --- the connection: it takes up to `room` bytes --- */

static struct buf written;
static size_t room, write_count;
static bool is_broken;

ssize_t conn_write(struct conn *c, const void *data, size_t bytes)
{
	(void)c;
	write_count++;
	if (is_broken)
		return CONN_BROKEN;
	if (bytes > room)
		bytes = room;
	room -= bytes;
	if (bytes == 0)
		return CONN_WAIT;
	buf_append(&written, data, bytes);
	return (ssize_t)bytes;
}

/* --- the owner: it has `body`, and gives `piece_bytes` of it at a time --- */

static const char *body;
static size_t piece_bytes;
static bool is_pausing, has_paused;

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	size_t left = strlen(body);

	(void)ctx;
	if (left == 0)
		return FETCH_END;
	has_paused = is_pausing && !has_paused;
	if (has_paused)
		return FETCH_WAIT;
	if (bytes > piece_bytes)
		bytes = piece_bytes;
	if (bytes > left)
		bytes = left;
	memcpy(out, body, bytes);
	body += bytes;
	return (ssize_t)bytes;
}

static const struct fetch_events events = {.body = on_body};
static uint8_t scratch[REQUEST_SENDER_SCRATCH_BYTES];
static struct request_sender sender;

static int tear_down(void **state)
{
	(void)state;
	request_sender_fini(&sender);
	buf_fini(&written);
	sender = (struct request_sender){0};
	room = write_count = 0;
	is_broken = is_pausing = has_paused = false;
	return 0;
}

/* A POST with these fields. */
static void start(const char *length, const char *expect, const char *text)
{
	static const struct target app = {.base = "", .authority = "h"};
	struct head head = {0};

	head_add(&head, ":method", "POST");
	head_add(&head, ":target", "/");
	if (length != NULL)
		head_add(&head, ":length", length);
	if (expect != NULL)
		head_add(&head, "expect", expect);
	body = text;
	piece_bytes = 3;
	assert_int_equal(request_sender_start(&sender,
					      &(struct request_input){.target = &app,
								      .head = head.data,
								      .head_bytes = head.bytes,
								      .has_body = true},
					      &events, NULL),
			 FAIL_NONE);
	head_fini(&head);
}

/* Lets the connection take `step_bytes` at a time until nothing goes out any more. */
static void send_in_steps(size_t step_bytes)
{
	size_t before;

	do {
		before = buf_bytes(&written);
		room = step_bytes;
		sender.body_waits = false;
		request_sender_send(&sender, NULL, scratch);
	} while (buf_bytes(&written) > before);
}

#define HEAD	 "POST / HTTP/1.1\r\nHost: h\r\n"
#define CLOSE	 "Connection: close\r\n\r\n"
#define LENGTH_7 HEAD "Content-Length: 7\r\n" CLOSE "payload"
#define CHUNKED                                                                                    \
	HEAD "Transfer-Encoding: chunked\r\n" CLOSE "3\r\npay\r\n3\r\nloa\r\n1\r\nd\r\n0\r\n\r\n"

static void expect_written(const char *text)
{
	assert_int_equal(buf_bytes(&written), strlen(text));
	assert_memory_equal(buf_first(&written), text, strlen(text));
}

static void test_all_sizes(void **state)
{
	static const char *const rows[][2] = {{"7", LENGTH_7}, {NULL, CHUNKED}};

	for (size_t i = 0; i < 2 * 200; i++) {
		const char *const *row = rows[i % 2];
		start(row[0], NULL, "payload");
		is_pausing = i % 4 < 2;
		send_in_steps(1 + i / 2);
		expect_written(row[1]);
		assert_true(request_sender_is_complete(&sender));
		assert_false(request_sender_is_blocked(&sender));
		tear_down(state);
	}
}

static void test_one_write(void **state)
{
	(void)state;
	start("7", NULL, "payload");
	room = 1000;
	request_sender_send(&sender, NULL, scratch);
	expect_written(LENGTH_7);
	assert_int_equal(write_count, 1);
}

static void test_a_body_that_is_held(void **state)
{
	(void)state;
	start("7", "100-continue", "payload");
	assert_int_equal(sender.body, BODY_HELD);
	send_in_steps(1000);
	assert_false(request_sender_is_complete(&sender));
	assert_false(request_sender_is_blocked(&sender));
	expect_written(HEAD "expect: 100-continue\r\nContent-Length: 7\r\n" CLOSE);
	request_sender_release(&sender);
	send_in_steps(1000);
	assert_true(request_sender_is_complete(&sender));
}

static void test_a_body_that_is_too_short_or_too_long(void **state)
{
	(void)state;
	start("7", NULL, "pay");
	send_in_steps(1000);
	assert_int_equal(sender.body, BODY_SHORT);
	assert_false(request_sender_is_complete(&sender));
	tear_down(state);

	start("7", NULL, "payload and more");
	send_in_steps(1000);
	expect_written(LENGTH_7);
	assert_true(request_sender_is_complete(&sender));
}

static void test_a_connection_that_breaks(void **state)
{
	(void)state;
	start("7", NULL, "payload");
	room = 5;
	request_sender_send(&sender, NULL, scratch);
	assert_true(sender.begun && request_sender_is_blocked(&sender));
	is_broken = true;
	request_sender_send(&sender, NULL, scratch);
	assert_true(sender.broken && !request_sender_is_blocked(&sender));
	assert_false(request_sender_is_complete(&sender));
	write_count = 0;
	request_sender_send(&sender, NULL, scratch);
	assert_int_equal(write_count, 0);
}

/* A kept connection refused the first byte: the whole request goes to another one. */
static void test_another_connection(void **state)
{
	(void)state;
	start(NULL, NULL, "payload");
	is_broken = true;
	request_sender_send(&sender, NULL, scratch);
	assert_true(sender.broken && !sender.begun);
	is_broken = false;
	request_sender_restart(&sender);
	send_in_steps(1000);
	expect_written(CHUNKED);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_sizes),
		TEST(test_one_write),
		TEST(test_a_body_that_is_held),
		TEST(test_a_body_that_is_too_short_or_too_long),
		TEST(test_a_connection_that_breaks),
		TEST(test_another_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
