/* What a local app is sent, byte for byte. */
#include "client/request.h"

#include "common/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static struct settings settings = {
	.target = {.origin = "http://app:3000", .authority = "app:3000", .base = "/base"}};
static struct head head;
static struct request request;

static int set_up(void **state)
{
	(void)state;
	settings.host_header = HOST_KEEP;
	settings.host_name = "other.example";
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	head_fini(&head);
	return 0;
}

static void start(const char *method, const char *target)
{
	head_fini(&head);
	head_add(&head, ":method", method);
	head_add(&head, ":target", target);
}

static bool write_it(struct buf *out, bool has_body)
{
	return request_write(out, &request, &settings, head.data, head.bytes, has_body);
}

static void expect(bool has_body, const char *text)
{
	struct buf out = {0};

	assert_true(write_it(&out, has_body));
	buf_append(&out, "", 1);
	assert_string_equal((const char *)buf_first(&out), text);
	buf_fini(&out);
}

static void refuse(void)
{
	struct buf out = {0};

	assert_false(write_it(&out, true));
	buf_fini(&out);
}

static void test_fields(void **state)
{
	(void)state;
	start("FROB", "/a%2F?x=+");
	head_add(&head, ":new", "skipped");
	head_add(&head, "accept", " a, b");
	head_add(&head, "x-empty", "");
	head_add(&head, "host", "public.example");
	head_add(&head, "x-hop", "1");
	head_add(&head, "connection", "close, X-Hop, host");
	head_add(&head, "transfer-encoding", "chunked");
	head_add(&head, "content-length", "7");
	expect(false, "FROB /base/a%2F?x=+ HTTP/1.1\r\nHost: public.example\r\naccept: a, b\r\n"
		      "x-empty: \r\n\r\n");
	assert_false(request.is_head || request.has_body || request.expects);
	settings.host_header = HOST_TARGET;
	start("GET", "/");
	head_add(&head, "host", "public.example");
	expect(false, "GET /base/ HTTP/1.1\r\nHost: app:3000\r\n\r\n");
	settings.host_header = HOST_NAME;
	expect(false, "GET /base/ HTTP/1.1\r\nHost: other.example\r\n\r\n");
}

static void test_bodies(void **state)
{
	(void)state;
	start("POST", "/");
	expect(true,
	       "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_true(request.has_body && request.chunked);
	head_add(&head, ":length", "12");
	expect(true, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nContent-Length: 12\r\n\r\n");
	assert_true(request.has_body && !request.chunked && request.body_bytes == 12);
	expect(false, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\n\r\n");
	assert_false(request.has_body);
	start("POST", "/");
	head_add(&head, ":length", "0");
	expect(true, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nContent-Length: 0\r\n\r\n");
	assert_false(request.has_body);
	start("HEAD", "/");
	head_add(&head, ":length", "5");
	expect(true, "HEAD /base/ HTTP/1.1\r\nHost: app:3000\r\n\r\n");
	assert_true(request.is_head && !request.has_body);
}

static void test_expect(void **state)
{
	(void)state;
	start("PUT", "/");
	head_add(&head, ":length", "1");
	head_add(&head, "expect", "100-Continue");
	expect(true, "PUT /base/ HTTP/1.1\r\nHost: app:3000\r\nexpect: 100-Continue\r\n"
		     "Content-Length: 1\r\n\r\n");
	assert_true(request.expects);
}

static void test_impossible(void **state)
{
	static const char *const lines[][2] = {
		{"", "/"},	{"G T", "/"},	 {"GET\r\n", "/"}, {"GE(T", "/"},
		{"GET", ""},	{"GET", "x"},	 {"GET", "*"},	   {"GET", "/ HTTP/1.1"},
		{"GET", "/\r"}, {"GET", "/\ta"}, {"GET", "/\x01"},
	};
	static const char *const fields[][2] = {
		{"x y", "1"},	  {"x", "a\r\nb: c"}, {"x", "\x7f"},
		{"host", "a\nb"}, {":length", "1x"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		start(lines[i][0], lines[i][1]);
		refuse();
	}
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		start("GET", "/");
		head_add(&head, fields[i][0], fields[i][1]);
		refuse();
	}
	head_fini(&head);
	refuse();
}

static void test_upgrade(void **state)
{
	struct buf out = {0};

	(void)state;
	start("GET", "/ws?a");
	assert_false(request_is_upgrade(head.data, head.bytes));
	head_add(&head, ":upgrade", "websocket");
	head_add(&head, "upgrade", "h2c");
	head_add(&head, "sec-websocket-key", "abc");
	assert_true(request_is_upgrade(head.data, head.bytes));
	assert_true(request_write_upgrade(&out, &settings, head.data, head.bytes));
	buf_append(&out, "", 1);
	assert_string_equal(
		(const char *)buf_first(&out),
		"GET /base/ws?a HTTP/1.1\r\nHost: app:3000\r\nsec-websocket-key: abc\r\n"
		"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_fields), TEST(test_bodies), TEST(test_expect),
					   TEST(test_impossible), TEST(test_upgrade)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
