/* The response heads of tunnel clients, and the lines that the web server receives. */
#include "common/head.h"
#include "common/http.h"
#include "common/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* after those that it needs */
#include <cmocka.h>

static const struct public_name below = {"/abc", "https://pub.example", "00ff", false, false};
static const struct public_name bare = {"", "https://pub.example", "00ff", false, false};

static const char *local = "http://localhost:3000"; /* the client's ":origin" */

/* The lines for a head of ":status" and one field; NULL: refused. The caller frees it. */
static char *lines(const struct public_name *n, const char *status, const char *name,
		   const char *value)
{
	struct head h = {0};
	struct buf out = {0};
	struct response r;
	char *text = NULL;

	head_add(&h, ":status", status);
	head_add(&h, ":origin", local);
	if (name != NULL)
		head_add(&h, name, value);
	if (rewrite_response(&r, n, "Status:", h.data, h.bytes, &out))
		text = strndup((const char *)buf_first(&out), buf_bytes(&out));
	head_fini(&h);
	buf_fini(&out);
	return text;
}

static void expect_line(const struct public_name *n, const char *status, const char *name,
			const char *value, const char *line)
{
	char *text = lines(n, status, name, value);

	if (text == NULL)
		fail_msg("%s: %s was refused", name, value);
	else if (strstr(text, line) == NULL)
		fail_msg("%s: %s became\n%s", name, value, text);
	free(text);
}

static const char *const rewritten[][3] = {
	{"Location", "/login?x", "Location: /abc/login?x\r\n"},
	{"Location", "/abc/login", "Location: /abc/login\r\n"},
	{"Location", "/abcd", "Location: /abc/abcd\r\n"},
	{"Location", "http://localhost:3000/x", "Location: https://pub.example/abc/x\r\n"},
	{"Location", "http://LOCALHOST:3000", "Location: https://pub.example/abc/\r\n"},
	{"Location", "https://pub.example/x", "Location: https://pub.example/abc/x\r\n"},
	{"Location", "https://pub.example/abc/x", "Location: https://pub.example/abc/x\r\n"},
	{"Location", "https://pub.example.evil/x", "Location: https://pub.example.evil/x\r\n"},
	{"Location", "//elsewhere/x", "Location: //elsewhere/x\r\n"},
	{"Location", "relative", "Location: relative\r\n"},
	{"Content-Location", "/x", "Content-Location: /abc/x\r\n"},
	{"Refresh", "5; url=/x", "Refresh: 5; url=/abc/x\r\n"},
	{"Refresh", "5;URL='/x'", "Refresh: 5;URL='/abc/x'\r\n"},
	{"Refresh", "5", "Refresh: 5\r\n"},
	{"Refresh", "0 ; URL = /x", "Refresh: 0 ; URL = /abc/x\r\n"},
	{"Refresh", "0; url= /x", "Refresh: 0; url= /abc/x\r\n"},
	{"Refresh", "0;/x", "Refresh: 0;/abc/x\r\n"},
	{"Refresh", "0, /x", "Refresh: 0, /abc/x\r\n"},
	{"Refresh", "0 /x", "Refresh: 0 /abc/x\r\n"},
	{"Refresh", "1.5; \"/x\"y", "Refresh: 1.5; \"/abc/x\"y\r\n"},
	{"Refresh", "0; url = '/x", "Refresh: 0; url = '/abc/x\r\n"},
	{"Refresh", "0; url", "Refresh: 0; url\r\n"},
	{"Refresh", "0; url=", "Refresh: 0; url=\r\n"},
	{"Refresh", "0; '", "Refresh: 0; '\r\n"},
	{"Refresh", "0;", "Refresh: 0;\r\n"},
	{"Refresh", "x; url=/x", "Refresh: x; url=/x\r\n"},
	{"Refresh", "0x/x", "Refresh: 0x/x\r\n"},
	{"Set-Cookie", "a=b; Path=/; Secure", "Set-Cookie: a=b; Path=/abc/; Secure\r\n"},
	{"Set-Cookie", "a=b; path=/x", "Set-Cookie: a=b; path=/abc/x\r\n"},
	{"Set-Cookie", "a=b;Path=/abc/x", "Set-Cookie: a=b;Path=/abc/x\r\n"},
	{"Set-Cookie", "a=b; Path = /x", "Set-Cookie: a=b; Path = /abc/x\r\n"},
	{"Set-Cookie", "a=b;PATH= \t/x ; Secure", "Set-Cookie: a=b;PATH= \t/abc/x ; Secure\r\n"},
	{"Set-Cookie", "a=b; path =/abc ;Secure", "Set-Cookie: a=b; path =/abc ;Secure\r\n"},
	{"Set-Cookie", "a=b; Path x=/x", "Set-Cookie: a=b; Path x=/x\r\n"},
	{"Set-Cookie", "a=b; Pathological=/x", "Set-Cookie: a=b; Pathological=/x\r\n"},
	{"Set-Cookie", "a=b; Path", "Set-Cookie: a=b; Path\r\n"},
	{"Set-Cookie", "a=b; Path= ", "Set-Cookie: a=b; Path=\r\n"},
	{"Set-Cookie", "a=b; Domain=localhost; HttpOnly", "Set-Cookie: a=b; HttpOnly\r\n"},
	{"Set-Cookie", "a=b; Domain = .localhost\t; HttpOnly", "Set-Cookie: a=b; HttpOnly\r\n"},
	{"Set-Cookie", "a=b; Domain=.other.example", "Set-Cookie: a=b; Domain=.other.example\r\n"},
	{"Set-Cookie", "path=/x", "Set-Cookie: path=/x\r\n"},
	{"X-Any", "", "X-Any: \r\n"},
};

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rewritten / sizeof rewritten[0]; i++)
		expect_line(&below, "302", rewritten[i][0], rewritten[i][1], rewritten[i][2]);
	expect_line(&bare, "302", "Location", "/login", "Location: /login\r\n");
	expect_line(&bare, "302", "Set-Cookie", "a=b; Path=/", "Set-Cookie: a=b; Path=/\r\n");
	/* a CGI gateway would serve /login itself */
	expect_line(&bare, "200", "Location", "/login", "Location: https://pub.example/login\r\n");
}

static const struct {
	const char *public, *local, *value, *line;
} spellings[] = {
	{"http://pub.example", "http://app:1", "http://pub.example:80/x",
	 "Location: http://pub.example/abc/x\r\n"},
	{"http://pub.example:80", "http://app:1", "http://pub.example/x",
	 "Location: http://pub.example:80/abc/x\r\n"},
	{"https://pub.example", "http://app:1", "HTTPS://Pub.Example:443/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example:443", "http://app:1", "https://pub.example:/x",
	 "Location: https://pub.example:443/abc/x\r\n"},
	{"http://pub.example", "http://127.0.0.1:80", "http://127.0.0.1/x",
	 "Location: http://pub.example/abc/x\r\n"},
	{"http://pub.example", "http://127.0.0.1", "http://127.0.0.1:80?x",
	 "Location: http://pub.example/abc/?x\r\n"},
	{"http://pub.example", "http://[::1]", "http://[::1]:80/x",
	 "Location: http://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://app:1", "//PUB.example/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://app:1", "//pub.example:443",
	 "Location: https://pub.example/abc/\r\n"},
	{"https://pub.example", "http://app:1", "//app:1/x",
	 "Location: https://pub.example/abc/x\r\n"},
	/* others */
	/* the other scheme: the app believes no forwarding header */
	{"https://pub.example", "http://app:1", "http://pub.example/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example:8443", "http://app:1", "http://pub.example:8443/x?y",
	 "Location: https://pub.example:8443/abc/x?y\r\n"},
	{"https://pub.example", "http://app:1", "http://pub.example:80",
	 "Location: https://pub.example/abc/\r\n"},
	{"https://pub.example", "http://app:1", "http://pub.example:8080/x",
	 "Location: http://pub.example:8080/x\r\n"},
	/* a redirect from http to https is intended */
	{"http://pub.example", "http://app:1", "https://pub.example/x",
	 "Location: https://pub.example/abc/x\r\n"},
	/* all names of the machine itself */
	{"https://pub.example", "http://localhost:3042", "http://127.0.0.1:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://[::1]:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://[0:0:0:0:0:0:0:1]:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://0.0.0.0:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://127.0.0.1:3042", "HTTPS://LOCALHOST.:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://[::1]", "http://localhost:80/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://127.1:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://2130706433:3042", "http://[::ffff:127.0.0.1]:3042/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://10.0.0.7", "http://0xa.7/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://[fe80::1%1]", "http://[fe80::1%2]/x",
	 "Location: http://[fe80::1%2]/x\r\n"},
	{"https://pub.example", "http://[fd00::7]:1", "http://[FD00:0::7]:1/x",
	 "Location: https://pub.example/abc/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://localhost:3043/x",
	 "Location: http://localhost:3043/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://user@localhost:3042/x",
	 "Location: http://user@localhost:3042/x\r\n"},
	{"https://pub.example", "http://localhost:3042", "http://127.0.0.2:3042/x",
	 "Location: http://127.0.0.2:3042/x\r\n"},
	{"https://pub.example", "http://app:1", "https://pub.example:80/x",
	 "Location: https://pub.example:80/x\r\n"},
	{"https://pub.example", "http://app:1", "//pub.example:80/x",
	 "Location: //pub.example:80/x\r\n"},
	{"http://pub.example", "http://app", "http://app:8/x", "Location: http://app:8/x\r\n"},
	{"http://pub.example", "http://app:1", "http://app:1@evil/x",
	 "Location: http://app:1@evil/x\r\n"},
	{"http://pub.example", "http://app:1", "http://app:1x/", "Location: http://app:1x/\r\n"},
	{"http://pub.example", "http://[::1]:1", "http://[::1/x", "Location: http://[::1/x\r\n"},
	{"http://pub.example", "http://", "http:///x", "Location: http:///x\r\n"},
	{"http://pub.example", "app", "ftp://pub.example/x", "Location: ftp://pub.example/x\r\n"},
};

/* An origin has many spellings: case, a default port, no scheme. */
static void test_spellings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
		struct public_name n = {"/abc", spellings[i].public, "00ff", false, false};
		local = spellings[i].local;
		expect_line(&n, "302", "Location", spellings[i].value, spellings[i].line);
	}
	/* without a prefix too: the caller would be sent to their own machine */
	local = "http://127.0.0.1:3042";
	expect_line(&bare, "302", "Location", "http://localhost:3042/x?y",
		    "Location: https://pub.example/x?y\r\n");
	expect_line(&bare, "201", "Content-Location", "http://[::1]:3042",
		    "Content-Location: https://pub.example\r\n");
	expect_line(&bare, "200", "Refresh", "5; url=http://localhost:3042/x",
		    "Refresh: 5; url=https://pub.example/x\r\n");
	expect_line(&bare, "302", "Location", "http://pub.example/x",
		    "Location: https://pub.example/x\r\n");
	expect_line(&bare, "200", "Set-Cookie", "a=b; Domain=localhost", "Set-Cookie: a=b\r\n");
	local = "http://LocalHost:80";
	expect_line(&below, "302", "Set-Cookie", "a=b; Domain=localhost", "Set-Cookie: a=b\r\n");
	local = "http://localhost:3000";
}

/* The client puts a base in front of each path; what the app says comes without it, as far as it
 * has it. */
static void test_base(void **state)
{
	static const struct {
		const char *prefix, *base, *name, *value, *line;
	} rows[] = {
		{"/abc", "/app", "Location", "/app/x?y", "Location: /abc/x?y\r\n"},
		{"/abc", "/app", "Location", "/app", "Location: /abc/\r\n"},
		{"/abc", "/app", "Location", "/app?y", "Location: /abc/?y\r\n"},
		{"/abc", "/app", "Location", "/x", "Location: /abc/x\r\n"},
		{"/abc", "/app", "Location", "/apple", "Location: /abc/apple\r\n"},
		{"/abc", "/app", "Location", "/abc/x", "Location: /abc/x\r\n"},
		{"/abc", "/app", "Location", "/app/app/x", "Location: /abc/app/x\r\n"},
		{"/abc", "/app", "Location", "http://LOCALHOST:3000/app/x",
		 "Location: https://pub.example/abc/x\r\n"},
		{"/abc", "/app", "Location", "https://pub.example/app/x",
		 "Location: https://pub.example/abc/x\r\n"},
		{"/abc", "/app", "Location", "https://elsewhere/app/x",
		 "Location: https://elsewhere/app/x\r\n"},
		{"/abc", "/app", "Refresh", "5; url=/app/x", "Refresh: 5; url=/abc/x\r\n"},
		{"/abc", "/app", "Set-Cookie", "a=b; Path=/app", "Set-Cookie: a=b; Path=/abc/\r\n"},
		{"/abc", "/app", "Set-Cookie", "a=b; Path=/app/x; Secure",
		 "Set-Cookie: a=b; Path=/abc/x; Secure\r\n"},
		{"/abc", "/app", "Set-Cookie", "a=b; Path=/", "Set-Cookie: a=b; Path=/abc/\r\n"},
		{"/abc", "/app/", "Location", "/app/x", "Location: /abc/x\r\n"},
		{"/abc", "/", "Location", "/app/x", "Location: /abc/app/x\r\n"},
		/* one name within the other: the longer one is meant */
		{"/abc", "/abc", "Location", "/abc/x", "Location: /abc/x\r\n"},
		{"/abc", "/abc/app", "Location", "/abc/app/x", "Location: /abc/x\r\n"},
		{"/app/abc", "/app", "Location", "/app/abc/x", "Location: /app/abc/x\r\n"},
		/* a tunnel with a host name of its own */
		{"", "/app", "Location", "/app/x", "Location: /x\r\n"},
		{"", "/app", "Location", "/x", "Location: /x\r\n"},
		{"", "/app", "Location", "/app", "Location: /\r\n"},
		{"", "/app", "Location", "http://localhost:3000/app/x",
		 "Location: https://pub.example/x\r\n"},
		{"", "/app", "Set-Cookie", "a=b; Path=/app", "Set-Cookie: a=b; Path=/\r\n"},
		{"", "/app", "Location", "/app//evil", "Location: /app//evil\r\n"},
		{"", "/app", "Location", "/app/\\evil", "Location: /app/\\evil\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct public_name n = {rows[i].prefix, "https://pub.example", "00ff", false,
					false};
		char origin[64];
		snprintf(origin, sizeof origin, "http://localhost:3000%s", rows[i].base);
		local = origin;
		expect_line(&n, "302", rows[i].name, rows[i].value, rows[i].line);
	}
	local = "http://localhost:3000/app";
	expect_line(&bare, "200", "Location", "/app/x", "Location: https://pub.example/x\r\n");
	local = "http://localhost:3000";
}

/* A 200 whose Location is a path makes CGI gateways serve that path of the web server. */
static void test_no_redirect_inside(void **state)
{
	static const struct public_name nameless = {"/abc", "", "00ff", false, false};
	static const struct public_name *const callers[] = {&below, &bare, &nameless};
	static const char *const values[] = {"/private",  "//private",	 "/\\private",
					     " /private", "\t//private", " \t /private"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
			char *text = lines(callers[i], "200", "Location", values[j]);
			assert_non_null(text);
			const char *at = strstr(text, "Location:");
			if (at != NULL && at[9 + strspn(at + 9, " \t")] == '/')
				fail_msg("\"%s\" became\n%s", values[j], text);
			free(text);
		}
	}
	expect_line(&bare, "200", "Location", " /login", "Location: https://pub.example/login\r\n");
	expect_line(&below, "302", "Location", " /login\t", "Location: /abc/login\r\n");
	expect_line(&below, "302", "Location", "//elsewhere/x", "Location: //elsewhere/x\r\n");
}

static void test_dropped(void **state)
{
	static const char *const names[] = {
		"Status",
		"X-Sendfile",
		"X-Sendfile2",
		"X-Sendfile-Temporary",
		"X_Sendfile",
		"X-Send-File",
		"X_Accel_Redirect",
		"X-LiteSpeed-Location",
		"X-LiteSpeed-Cache-Control",
		"X_LIGHTTPD_send_file",
		"x_pipegate_error",
		"X-Accel-Redirect",
		"X-LIGHTTPD-send-file",
		"x-pipegate-error",
		"X-PipeGate-Correlation-Id",
		"Connection",
		"Keep-Alive",
		"Upgrade",
		"Trailer",
		"TE",
		"Proxy-Authenticate",
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *text = lines(&below, "200", names[i], "tell-tale");
		assert_non_null(text);
		if (strstr(text, "tell-tale") != NULL)
			fail_msg("%s got through", names[i]);
		free(text);
	}
}

/* Fields that Connection names are hop-by-hop, except those that define the message. */
static void test_named_by_connection(void **state)
{
	static const char *const fields[][2] = {
		{"x-first", "tell-tale"}, {"Connection", "close, X-First"},
		{"Content-Length", "5"},  {"connection", "x-LAST ,Content-Length,Set-Cookie"},
		{"Set-Cookie", "a=b"},	  {"X-Last", "tell-tale"},
	};
	struct head h = {0};
	struct buf out = {0};
	struct response r;

	(void)state;
	head_add(&h, ":status", "200");
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		head_add(&h, fields[i][0], fields[i][1]);
	assert_true(rewrite_response(&r, &below, "Status:", h.data, h.bytes, &out));
	buf_append(&out, "", 1);
	assert_null(strstr((const char *)buf_first(&out), "tell-tale"));
	assert_non_null(strstr((const char *)buf_first(&out), "Content-Length: 5\r\n"));
	assert_non_null(strstr((const char *)buf_first(&out), "Set-Cookie: a=b\r\n"));
	head_fini(&h);
	buf_fini(&out);
}

/* The name that the app was told in Host is its own too, where that is another one. */
static void test_host_that_was_told(void **state)
{
	struct head h = {0};
	struct buf out = {0};
	struct response r;

	(void)state;
	head_add(&h, ":status", "302");
	head_add(&h, ":origin", "http://127.0.0.1:3000/base");
	head_add(&h, ":host", "app.internal:8000");
	head_add(&h, "Location", "http://APP.internal:8000/base/x");
	head_add(&h, "Content-Location", "http://app.internal/base/x");
	head_add(&h, "Set-Cookie", "a=b; Domain=app.internal");
	assert_true(rewrite_response(&r, &bare, "Status:", h.data, h.bytes, &out));
	buf_append(&out, "", 1);
	const char *text = (const char *)buf_first(&out);
	assert_non_null(strstr(text, "\nLocation: https://pub.example/x\r\n"));
	assert_non_null(strstr(text, "\nContent-Location: http://app.internal/base/x\r\n"));
	assert_non_null(strstr(text, "\nSet-Cookie: a=b\r\n"));
	assert_null(strstr(text, ":host"));
	head_fini(&h);
	buf_fini(&out);
}

/* A head of `fields` fields and as many names in Connection. */
static void much_in_connection(struct head *h, size_t fields)
{
	struct buf list = {0};

	head_add(h, ":status", "200");
	for (size_t i = 0; i < fields; i++) {
		char name[16];
		snprintf(name, sizeof name, "x%zu", i);
		head_add(h, name, "");
		if (i % (fields / 32) == 0) {
			buf_append(&list, name, strlen(name));
			buf_append(&list, ",", 1);
		}
		buf_append(&list, ",close,", 7);
	}
	head_add_bytes(h, "connection", 10, buf_first(&list), buf_bytes(&list));
	buf_fini(&list);
}

static double seconds_for(size_t fields)
{
	struct timespec before, after;
	struct head h = {0};
	struct response r;

	much_in_connection(&h, fields);
	assert_true(h.bytes < HEAD_MAX_BYTES);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	for (int i = 0; i < 50; i++) {
		struct buf out = {0};
		assert_true(rewrite_response(&r, &below, "Status:", h.data, h.bytes, &out));
		buf_fini(&out);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	head_fini(&h);
	return (double)(after.tv_sec - before.tv_sec) +
	       (double)(after.tv_nsec - before.tv_nsec) / 1e9;
}

/* A hostile peer sizes the fields and the list: the cost grows with their sum, not with their
 * product (16). */
static void test_much_in_connection(void **state)
{
	(void)state;
	double few = seconds_for(640), many = seconds_for(4 * 640);
	if (many > 9 * few)
		fail_msg("four times as much took %.1f times as long", many / few);
}

/* More names than any honest message has: refused, not honoured in part. */
static void test_too_many_names(void **state)
{
	struct head h = {0};
	struct buf out = {0};
	struct response r;
	struct http_connection c;

	(void)state;
	head_add(&h, ":status", "200");
	for (int i = 0; i < HTTP_CONNECTION_NAMES_MAX; i++) {
		char name[16];
		snprintf(name, sizeof name, "n%d", i);
		head_add(&h, "Connection", name);
		head_add(&h, "Connection", name);
	}
	assert_true(http_connection_read(&c, h.data, h.bytes));
	assert_int_equal(c.count, HTTP_CONNECTION_NAMES_MAX);
	for (size_t i = 0; i < c.count; i++)
		assert_true(http_connection_names(&c, &c.names[i]));
	assert_true(rewrite_response(&r, &below, "Status:", h.data, h.bytes, &out));
	head_add(&h, "Connection", "one-more");
	assert_false(http_connection_read(&c, h.data, h.bytes));
	assert_false(rewrite_response(&r, &below, "Status:", h.data, h.bytes, &out));
	head_fini(&h);
	buf_fini(&out);
}

/* Each Path of a cookie gets the prefix: a client's 64 KiB do not become megabytes. */
static void test_much_of_a_cookie(void **state)
{
	static char value[60 * 1024];
	struct public_name n = {"/a-mount-that-is-long/and-an-id-that-is-long",
				"https://pub.example", "00ff", false, false};

	(void)state;
	for (size_t i = 0; i + 7 < sizeof value; i += 7)
		memcpy(value + i, ";path=/", 8);
	assert_null(lines(&n, "200", "Set-Cookie", value));
}

static void test_impossible(void **state)
{
	static const char *const rows[][3] = {
		{"199", NULL, NULL},
		{"600", NULL, NULL},
		{"1000", NULL, NULL},
		{"2x0", NULL, NULL},
		{"-20", NULL, NULL},
		{"200", "A b", "x"},
		{"200", "", "x"},
		{"200", "A:", "x"},
		{"200", "A", "x\r\nB: y"},
		{"200", "A", "x\ny"},
		{"200", "A", "\x01"},
		{"200", "A\r\nB", "x"},
		{"200", "Content-Length", "-1"},
		{"200", "Content-Length", "1, 2"},
		{"200", "Content-Length", "5, 5, 6"},
		{"200", "Content-Length", "5,"},
		{"200", "Content-Length", "5,,5"},
		{"200", "Content-Length", ""},
		{"200", "Transfer-Encoding", "chunked, chunked"},
		{"200", "Transfer-Encoding", "gzip, chunked"},
		{"200", "Transfer-Encoding", "gzip"},
		{"200", "Transfer-Encoding", "identity"},
		{"200", "Content-Length", "99999999999999999999"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *text = lines(&below, rows[i][0], rows[i][1], rows[i][2]);
		if (text != NULL)
			fail_msg("row %zu got through:\n%s", i, text);
	}
	expect_line(&below, "200", "A", "x\ty", "A: x\ty\r\n");
	/* a length may be said twice (RFC 9110 8.6); v1's clients say how the body came */
	expect_line(&below, "200", "Content-Length", "5 , 5", "Content-Length: 5\r\n");
	expect_line(&below, "200", "Content-Length", "05", "Content-Length: 5\r\n");
	char *text = lines(&below, "200", "Transfer-Encoding", "Chunked");
	assert_non_null(text);
	assert_null(strstr(text, "hunked"));
	free(text);
}

/* Nothing of a body that must not be there, nothing beyond the declared length. */
static void test_body_bytes(void **state)
{
	struct response length = {.has_length = true, .length_bytes = 10},
			none = {.bodiless = true}, open = {0};

	(void)state;
	assert_int_equal(rewrite_pass(&length, 4), 4);
	assert_false(rewrite_is_whole(&length));
	assert_int_equal(rewrite_pass(&length, 0), 0);
	assert_int_equal(rewrite_pass(&length, 7), 6);
	assert_int_equal(rewrite_pass(&length, 1), 0);
	assert_true(rewrite_is_whole(&length));
	assert_int_equal(rewrite_pass(&none, 5), 0);
	assert_true(rewrite_is_whole(&none));
	assert_int_equal(rewrite_pass(&open, 5), 5);
	assert_true(rewrite_is_whole(&open));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_no_redirect_inside),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_named_by_connection),
		cmocka_unit_test(test_host_that_was_told),
		cmocka_unit_test(test_much_in_connection),
		cmocka_unit_test(test_too_many_names),
		cmocka_unit_test(test_much_of_a_cookie),
		cmocka_unit_test(test_impossible),
		cmocka_unit_test(test_body_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
