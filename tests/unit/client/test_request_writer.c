/* What a local app is sent, byte for byte. */
#include "client/request_writer.h"

#include "common/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static struct target app = {.origin = "http://app:3000", .authority = "app:3000", .base = "/base"};
static struct head head;
static struct written_request request;
static bool keeps; /* as the pool says */

static int set_up(void **state)
{
	(void)state;
	app.host_header = HOST_KEEP;
	app.base = "/base";
	keeps = true;
	app.host_name = "other.example";
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

static enum fail write_it(struct buf *out, bool has_body)
{
	const struct request_input in = {.target = &app,
					 .head = head.data,
					 .head_bytes = head.bytes,
					 .has_body = has_body,
					 .keeps_open = keeps};

	return request_writer_write(out, &request, &in);
}

static enum fail write_upgrade(struct buf *out)
{
	return request_writer_write_upgrade(out, &(struct request_input){.target = &app,
									 .head = head.data,
									 .head_bytes = head.bytes});
}

static void expect(bool has_body, const char *text)
{
	struct buf out = {0};

	assert_int_equal(write_it(&out, has_body), FAIL_NONE);
	buf_append(&out, "", 1);
	assert_string_equal((const char *)buf_first(&out), text);
	buf_fini(&out);
}

static void refuse(enum fail why)
{
	struct buf out = {0};

	assert_int_equal(write_it(&out, true), why);
	buf_fini(&out);
}

static const struct {
	const char *name, *value, *line;
} destinations[] = {
	{"destination", "https://public.example/x%2F?y",
	 "destination: http://public.example/base/x%2F?y"},
	{"Destination", "http://PUBLIC.example:80", "Destination: http://public.example/base/"},
	{"destination", "/x", "destination: /base/x"},
	{"destination", "https://public.example//x", "destination: http://public.example/base//x"},
	{"destination", "https://other.example/x", "destination: https://other.example/x"},
	{"destination", "http://public.example:81/x", "destination: http://public.example:81/x"},
	{"destination", "container/object", "destination: container/object"},
	{"if", "<https://public.example/x> (<urn:uuid:1> [\"a)<\"]) </y> (Not <DAV:no-lock>)",
	 "if: <http://public.example/base/x> (<urn:uuid:1> [\"a)<\"]) </base/y> (Not "
	 "<DAV:no-lock>)"},
	{"if", "(<http://public.example/token>)", "if: (<http://public.example/token>)"},
	{"if", "<http://public.example/x", "if: <http://public.example/x"},
};

static const char *const outside[] = {
	"/../x",
	"/a/..;/../x",
	"/%2e%2e/x",
	"//public.example/x",
	"//outside/x",
	"/\\outside/x",
	"http://public.example/..;/x",
	"http://app:3000/x",
	"http://APP:3000",
	"https://public.example/a/%252e%252e/x",
	"../x",
};

/* WebDAV names URLs of its server: here they are the app's, by its own scheme, Host and base. */
static void test_destinations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof destinations / sizeof destinations[0]; i++) {
		char text[512];
		start("COPY", "/a");
		head_add(&head, destinations[i].name, destinations[i].value);
		head_add(&head, "host", "public.example");
		snprintf(text, sizeof text,
			 "COPY /base/a HTTP/1.1\r\nHost: public.example\r\n%s\r\nConnection: "
			 "close\r\n\r\n",
			 destinations[i].line);
		expect(false, text);
	}
	/* none that names the app leaves the base */
	for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
		start("COPY", "/a");
		head_add(&head, "destination", outside[i]);
		head_add(&head, "host", "public.example");
		refuse(FAIL_BAD_REQUEST);
	}
	app.host_header = HOST_TARGET;
	start("MOVE", "/a");
	head_add(&head, "host", "public.example");
	head_add(&head, "destination", "https://public.example/x");
	expect(false, "MOVE /base/a HTTP/1.1\r\nHost: app:3000\r\ndestination: "
		      "http://app:3000/base/x\r\nConnection: close\r\n\r\n");
	app.host_header = HOST_KEEP;
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
		      "x-empty: \r\nConnection: close\r\n\r\n");
	assert_false(request.is_head || request.has_body || request.expects);
	app.host_header = HOST_TARGET;
	start("GET", "/");
	head_add(&head, "host", "public.example");
	expect(false, "GET /base/ HTTP/1.1\r\nHost: app:3000\r\n\r\n");
	app.host_header = HOST_NAME;
	expect(false, "GET /base/ HTTP/1.1\r\nHost: other.example\r\n\r\n");
}

static void test_bodies(void **state)
{
	(void)state;
	start("POST", "/");
	expect(true, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nTransfer-Encoding: chunked\r\n"
		     "Connection: close\r\n\r\n");
	assert_true(request.has_body && request.chunked);
	head_add(&head, ":length", "12");
	expect(true, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nContent-Length: 12\r\n"
		     "Connection: close\r\n\r\n");
	assert_true(request.has_body && !request.chunked && request.body_bytes == 12);
	expect(false, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nConnection: close\r\n\r\n");
	assert_false(request.has_body);
	start("POST", "/");
	head_add(&head, ":length", "0");
	expect(true, "POST /base/ HTTP/1.1\r\nHost: app:3000\r\nContent-Length: 0\r\n"
		     "Connection: close\r\n\r\n");
	assert_false(request.has_body);
	start("HEAD", "/");
	head_add(&head, ":length", "5");
	expect(true, "HEAD /base/ HTTP/1.1\r\nHost: app:3000\r\nConnection: close\r\n\r\n");
	assert_true(request.is_head && !request.has_body);
}

static void test_expect(void **state)
{
	(void)state;
	start("PUT", "/");
	head_add(&head, ":length", "1");
	head_add(&head, "expect", "100-Continue");
	expect(true, "PUT /base/ HTTP/1.1\r\nHost: app:3000\r\nexpect: 100-Continue\r\n"
		     "Content-Length: 1\r\nConnection: close\r\n\r\n");
	assert_true(request.expects);
}

/* Is anything else sent on the connection behind this request? The app is told. */
static void expect_last(bool is_last, bool has_body)
{
	struct buf out = {0};

	assert_int_equal(write_it(&out, has_body), FAIL_NONE);
	buf_append(&out, "", 1);
	bool says_close = strstr((const char *)buf_first(&out), "Connection: close\r\n") != NULL;
	if (request.is_last != is_last || says_close != is_last)
		fail_msg("%s", (const char *)buf_first(&out));
	buf_fini(&out);
}

static void test_last_on_its_connection(void **state)
{
	static const struct {
		const char *value;
		bool is_last;
	} logins[] = {
		{"Basic YTpi", false},
		{"Bearer ntlm", false},
		{"Digest username=\"a, ntlm b\"", true}, /* not worth a parser */
		{"NTLM TlRMTVNTUAAB", true},
		{"negotiate YIIg", true},
		{"Kerberos x", true},
	};

	(void)state;
	start("GET", "/");
	expect_last(false, false);
	expect_last(true, true);
	head_add(&head, ":length", "0");
	expect_last(false, true);
	keeps = false;
	expect_last(true, false);
	keeps = true;
	start("OPTIONS", "/");
	expect_last(false, false);
	start("HEAD", "/");
	expect_last(true, false);
	start("CONNECT", "/");
	expect_last(true, false);
	start("get", "/");
	expect_last(true, false);
	for (size_t i = 0; i < sizeof logins / sizeof logins[0]; i++) {
		start("GET", "/");
		head_add(&head, "authorization", logins[i].value);
		expect_last(logins[i].is_last, false);
	}
}

static const char *const climbing[] = {
	"/..",	   "/../x",	"/a/..",       "/%2e%2e/x",
	"/.%2E/x", "/%2e./x",	"/a%2f..%2fx", "/a%2F..%5c..%5cx",
	"/..\\x",  "/a\\..\\x", "/..%5cx",     "/..%00/x",
	"/x/..?y",
};

/* Only where there is a base to leave. */
static const char *const climbing_for_some[] = {
	"/%252e%252e/x",
	"/%25252e%25252e/x",
	"/..%252fx",
	"/a%255c..%255cx",
	"/..;/x",
	"/..;a=b/x",
	"/%2e%2e;x/y",
	"/..%3bx/y",
	"/..%253bx/y",
	"/..%20/x",
	"/..%3fx",
	"/..#",
	"/a/..#/x",
	"/..%23",
	"/%c0%ae%c0%ae/x",
	"/%c0%ae./x",
	"/..%c0%afx",
	"/..%c1%9cx",
	"/%25c0%25ae%c0%ae/x",
	"/\xc0\xae\xc0\xae/x",
};

static const char *const staying[] = {
	"/",	    "//",     "/...", "/..x",  "/x..",	    "/.",      "/a.b",	    "/.%2f.",
	"/x?/../y", "/?..",   "/%2e", "/a;..", "/a%2fb",    "/%252e",  "/%zz/.",    "/%e2%80%a6",
	"/~/..a/",  "/50%25", "/%",   "/.%2",  "/a/...;/b", "/%C3%A9", "/\xc3\xa9", "/http://x/..y",
};

static void expect_targets(const char *base, const char *const *targets, size_t count,
			   enum fail expected)
{
	app.base = (char *)base;
	for (size_t i = 0; i < count; i++) {
		struct buf out = {0};
		start("GET", targets[i]);
		if (write_it(&out, false) != expected)
			fail_msg("%s behind \"%s\"", targets[i], base);
		buf_fini(&out);
		if (write_upgrade(&out) != expected)
			fail_msg("handshake: %s behind \"%s\"", targets[i], base);
		buf_fini(&out);
	}
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void test_base_is_a_boundary(void **state)
{
	(void)state;
	expect_targets("/base", climbing, COUNT(climbing), FAIL_BAD_PATH);
	expect_targets("/base", climbing_for_some, COUNT(climbing_for_some), FAIL_BAD_PATH);
	expect_targets("/base", staying, COUNT(staying), FAIL_NONE);
	expect_targets("", climbing, COUNT(climbing), FAIL_BAD_PATH);
	expect_targets("", climbing_for_some, COUNT(climbing_for_some), FAIL_NONE);
	expect_targets("", staying, COUNT(staying), FAIL_NONE);
}

static void test_impossible(void **state)
{
	static const char *const lines[][2] = {
		{"", "/"},	  {"G T", "/"},	    {"GET\r\n", "/"}, {"GE(T", "/"},
		{"GET", ""},	  {"GET", "x"},	    {"GET", "*"},     {"GET", "/ HTTP/1.1"},
		{"GET", "/\r"},	  {"GET", "/\ta"},  {"GET", "/\x01"}, {"GET", "http://other/x"},
		{"GET", "//x y"}, {"GET", "/\x7f"}, {"GET", "\\x"},   {"GET", "?x"},
		{"GET", "#"},
	};
	static const char *const fields[][2] = {
		{"x y", "1"},	  {"x", "a\r\nb: c"}, {"x", "\x7f"},
		{"host", "a\nb"}, {":length", "1x"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		start(lines[i][0], lines[i][1]);
		refuse(FAIL_BAD_REQUEST);
	}
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		start("GET", "/");
		head_add(&head, fields[i][0], fields[i][1]);
		refuse(FAIL_BAD_REQUEST);
	}
	head_fini(&head);
	refuse(FAIL_BAD_REQUEST);
}

static void test_upgrade(void **state)
{
	struct buf out = {0};

	(void)state;
	start("GET", "/ws?a");
	assert_false(request_writer_is_upgrade(head.data, head.bytes));
	head_add(&head, ":upgrade", "websocket");
	head_add(&head, "upgrade", "h2c");
	head_add(&head, "sec-websocket-key", "abc");
	assert_true(request_writer_is_upgrade(head.data, head.bytes));
	assert_int_equal(write_upgrade(&out), FAIL_NONE);
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
	const struct CMUnitTest tests[] = {TEST(test_fields),
					   TEST(test_bodies),
					   TEST(test_expect),
					   TEST(test_impossible),
					   TEST(test_upgrade),
					   TEST(test_last_on_its_connection),
					   TEST(test_base_is_a_boundary),
					   TEST(test_destinations)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
