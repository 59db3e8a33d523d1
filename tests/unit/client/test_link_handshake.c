/* The opening handshake: what is sent, and what becomes of each response. */
#include "client/link_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static char url_path[] = "/t/?a=1", authority[] = "h:8000", token[] = "eyJhbGciOi.x.y";

static const struct tunnel_server server = {
	.url = {.path = url_path, .authority = authority},
	.token = token,
};

static char *request_of(struct link_handshake *h)
{
	struct buf out = {0};

	link_handshake_write(h, &out);
	char *text = strndup((const char *)buf_first(&out), buf_bytes(&out));
	assert_non_null(text);
	buf_fini(&out);
	return text;
}

static void test_request(void **state)
{
	struct link_handshake *h = link_handshake_new(&server),
			      *other = link_handshake_new(&server);
	char *text = request_of(h), *second = request_of(other);

	(void)state;
	assert_ptr_equal(strstr(text, "GET /t/?a=1 HTTP/1.1\r\nHost: h:8000\r\n"), text);
	assert_non_null(strstr(text, "\r\nSec-WebSocket-Protocol: pipegate.v2\r\n"));
	assert_non_null(strstr(text, "\r\nAuthorization: Bearer eyJhbGciOi.x.y\r\n"));
	assert_non_null(strstr(text, "\r\n\r\n"));
	assert_string_not_equal(text, second); /* the key */
	free(text);
	free(second);
	link_handshake_destroy(&h);
	link_handshake_destroy(&other);
}

/* In pieces, then the end of the connection. *left: bytes behind what was consumed. */
static enum link_handshake_state respond(struct link_handshake *h, const char *text,
					 size_t piece_bytes, size_t *left)
{
	enum link_handshake_state state = HANDSHAKE_GOING;
	size_t bytes = strlen(text), used;

	*left = bytes;
	for (size_t i = 0; i < bytes && state == HANDSHAKE_GOING; i += piece_bytes) {
		size_t count = bytes - i < piece_bytes ? bytes - i : piece_bytes;
		state = link_handshake_receive(h, text + i, count, &used);
		*left = bytes - i - used;
	}
	return state == HANDSHAKE_GOING ? link_handshake_end(h) : state;
}

#define SWITCH "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static void test_failures(void **state)
{
	static const struct {
		const char *response, *why;
		int status;
	} rows[] = {
		{SWITCH "\r\n", "Sec-WebSocket-Accept", 101},
		{SWITCH "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
		 "Sec-WebSocket-Accept", 101},
		{"HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n", "with a 101 that", 0},
		{"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", "with a 101 that", 0},
		{"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", "HTTP 404 Not Found", 404},
		{"HTTP/1.1 400 X\r\nContent-Length: 28\r\n\r\n{\"detail\":\"not \\\"here\\\" ok\"}",
		 "HTTP 400 Bad Request: not \\\"here\\\" ok", 400},
		{"HTTP/1.1 503 X\r\nContent-Length: 6\r\n\r\n<html>",
		 "HTTP 503 Service Unavailable", 503},
		{"HTTP/1.1 404 X\r\n\r\n{\"detail\":\"until the end\"}", ": until the end", 404},
		{"HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\n{\"detail\":\"cut\"}", "HTTP 404",
		 404},
		{"HTTP/1.1 301 X\r\nLocation: https://other/t/?token=eyJabc.d.e\r\n"
		 "Content-Length: 0\r\n\r\n",
		 "HTTP 301 Moved Permanently to https://other/t/?...:", 301},
		{"HTTP/1.1 403 X\r\nContent-Length: 29\r\n\r\n{\"detail\":\"eyJhbGciOi.x.y n\"}",
		 "HTTP 403 Forbidden: ...", 403},
		{"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 401 U\r\nContent-Length: 0\r\n\r\n", "HTTP 401",
		 401},
		{"garbage\r\n\r\n", "no HTTP/1.1 response", 0},
		{"", "closed the connection without a response", 0},
		{"HTTP/1.1 404 X\r\nContent-Le", "closed the connection without", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t piece = 1; piece < 200; piece += 19) {
			struct link_handshake *h = link_handshake_new(&server);
			size_t left;
			assert_int_equal(respond(h, rows[i].response, piece, &left),
					 HANDSHAKE_FAILED);
			if (strstr(link_handshake_why(h), rows[i].why) == NULL ||
			    link_handshake_status(h) != rows[i].status)
				fail_msg("row %zu: %d %s", i, link_handshake_status(h),
					 link_handshake_why(h));
			link_handshake_destroy(&h);
		}
	}
}

/* Endless heads, and an endless body of an error. */
static void test_bounds(void **state)
{
	static char block[4096];
	size_t used, total = 0;
	enum link_handshake_state last = HANDSHAKE_GOING;
	struct link_handshake *h = link_handshake_new(&server);

	(void)state;
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = "HTTP/1.1 103 E\r\n\r\n"[i % 18];
	while (last == HANDSHAKE_GOING && total < 1 << 20) {
		last = link_handshake_receive(h, block, sizeof block / 18 * 18, &used);
		total += used;
	}
	assert_int_equal(last, HANDSHAKE_FAILED);
	assert_true(total < 200 * 1024);
	link_handshake_destroy(&h);

	h = link_handshake_new(&server);
	last = link_handshake_receive(h, "HTTP/1.1 404 X\r\n\r\n", 18, &used);
	for (total = 0; last == HANDSHAKE_GOING && total < 1 << 20; total += used)
		last = link_handshake_receive(h, block, sizeof block, &used);
	assert_int_equal(last, HANDSHAKE_FAILED);
	assert_true(total <= 8192);
	link_handshake_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
