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

/* A handshake that has received this. */
static struct link_handshake *handshake_after(const char *response)
{
	static char path[] = "/", authority[] = "h";
	static const struct tunnel_server server = {.url = {.path = path, .authority = authority}};
	struct link_handshake *h = link_handshake_new(&server);
	size_t used;

	assert_int_equal(link_handshake_receive(h, response, strlen(response), &used),
			 HANDSHAKE_GOING);
	return h;
}

#define FORBIDDEN "HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\n\r\n"

static void test_ends_of_a_connection(void **state)
{
	static const struct {
		const char *why, *response;
		int code;
		bool by_http;
		const char *shown;
	} rows[] = {
		{"", NULL, 1006, false, "the server closed the connection without a Close"},
		{"Connection reset by peer", NULL, 1006, false,
		 "the connection broke: Connection reset by peer"},
		{"", "", 0, true, "the server closed the connection without a response"},
		{"Broken pipe", "", 1006, false, "the connection broke: Broken pipe"},
		/* what the server has said comes first, even if the connection broke then */
		{"", FORBIDDEN, 403, true, "the server responded with HTTP 403 Forbidden"},
		{"Broken pipe", FORBIDDEN, 403, true,
		 "the server responded with HTTP 403 Forbidden"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct link_handshake *h =
			rows[i].response != NULL ? handshake_after(rows[i].response) : NULL;
		struct link_end e = {0};
		link_end_set_by_conn(&e, rows[i].why, h);
		assert_string_equal(e.shown, rows[i].shown);
		assert_int_equal(e.cause.code, rows[i].code);
		assert_int_equal(e.cause.by_http, rows[i].by_http);
		link_handshake_destroy(&h);
	}
}

static void test_ends_of_a_wait(void **state)
{
	static const struct {
		enum lifecycle_state state;
		const char *response;
		int code;
		bool by_http;
		const char *shown;
	} rows[] = {
		{LIFECYCLE_CONNECTING, NULL, 0, false, "no connection within 20 s"},
		{LIFECYCLE_SHAKING, "", 0, true,
		 "the server did not respond to the handshake within 20 s"},
		{LIFECYCLE_SHAKING, FORBIDDEN, 403, true,
		 "the server responded with HTTP 403 Forbidden"},
		{LIFECYCLE_GREETING, NULL, 1006, false, "the server sent no HELLO within 20 s"},
	};
	struct link_end e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct link_handshake *h =
			rows[i].response != NULL ? handshake_after(rows[i].response) : NULL;
		link_end_reset(&e);
		link_end_set_by_time(&e, rows[i].state, h);
		assert_string_equal(e.shown, rows[i].shown);
		assert_int_equal(e.cause.code, rows[i].code);
		assert_int_equal(e.cause.by_http, rows[i].by_http);
		link_handshake_destroy(&h);
	}
	/* CLOSING: the Close counts, not the wait for the peer's */
	link_end_reset(&e);
	link_end_set(&e, 1000, "client stops", 12);
	link_end_set_by_time(&e, LIFECYCLE_CLOSING, NULL);
	assert_string_equal(e.shown, "client stops");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_cause_counts),
		cmocka_unit_test(test_a_reason_is_bounded_and_quoted),
		cmocka_unit_test(test_ends_of_a_connection),
		cmocka_unit_test(test_ends_of_a_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
