/* One public request: what it asks the broker, what the web server gets, how it ends. The web
 * server (fcgi/cgi.h) is a script. */
#include "fcgi/relay.h"

#include "common/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { OUT_BYTES = 64 * 1024, LARGE_BYTES = 300 };

/* --- the web server --- */

struct cgi {
	const char *parameters[12]; /* "NAME=value" */
	const char *body;	    /* what it sends now; NULL: nothing yet */
	bool body_ends, broken, refuses, stuck, gone;
	char out[OUT_BYTES];
	size_t out_bytes, flushed_bytes;
	bool ended, cut, finished;
};

static struct cgi web;
static struct quota *quota;
static struct relay *relay;

bool cgi_accept(struct cgi *c)
{
	return c->parameters[0] != NULL;
}

static const char *get(void *ctx, const char *name)
{
	const struct cgi *c = ctx;

	for (size_t i = 0, bytes = strlen(name); c->parameters[i] != NULL; i++) {
		if (strncmp(c->parameters[i], name, bytes) == 0 && c->parameters[i][bytes] == '=')
			return c->parameters[i] + bytes + 1;
	}
	return NULL;
}

static const char *entry(void *ctx, size_t index)
{
	const struct cgi *c = ctx;

	return c->parameters[index];
}

struct request_parameters cgi_parameters(struct cgi *c)
{
	return (struct request_parameters){.ctx = c, .get = get, .entry = entry};
}

ssize_t cgi_read(struct cgi *c, void *out, size_t bytes, int wait_ms)
{
	(void)wait_ms;
	if (c->broken)
		return CGI_BROKEN;
	if (c->body == NULL || *c->body == '\0')
		return c->body_ends ? CGI_END : CGI_NOTHING;
	size_t some = strlen(c->body) < bytes ? strlen(c->body) : bytes;
	memcpy(out, c->body, some);
	c->body += some;
	return (ssize_t)some;
}

void cgi_write(struct cgi *c, const void *data, size_t bytes)
{
	assert_true(c->out_bytes + bytes < sizeof c->out);
	if (bytes > 0)
		memcpy(c->out + c->out_bytes, data, bytes);
	c->out_bytes += bytes;
	c->out[c->out_bytes] = '\0';
}

void cgi_end(struct cgi *c)
{
	assert_false(c->ended);
	c->ended = true;
}

enum cgi_flush cgi_flush(struct cgi *c, bool may_block)
{
	if (c->refuses)
		return CGI_REFUSED;
	if (c->stuck && !may_block && c->flushed_bytes < c->out_bytes)
		return CGI_BLOCKED;
	c->flushed_bytes = c->out_bytes;
	return CGI_SENT;
}

enum cgi_end cgi_finish(struct cgi *c)
{
	assert_true(c->ended && c->flushed_bytes == c->out_bytes);
	c->finished = true;
	return CGI_KEPT;
}

void cgi_cut(struct cgi *c)
{
	c->cut = true;
}

int cgi_descriptor(const struct cgi *c)
{
	(void)c;
	return 7;
}

bool cgi_is_disconnected(const struct cgi *c)
{
	return c->gone;
}

/* --- the script --- */

static int set_up(void **state)
{
	(void)state;
	memset(&web, 0, sizeof web);
	quota = quota_new(16);
	relay = relay_new(&web, quota, LARGE_BYTES, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	relay_destroy(&relay);
	for (int i = 0; i < 12; i++) { /* the slot was given back, once */
		assert_true(quota_reserve(quota, "abc"));
		quota_release(quota, "abc");
	}
	quota_destroy(&quota);
	return 0;
}

static enum relay_state start(const char *method, const char *target, const char *length)
{
	size_t n = 0;
	static char uri[200], path[200], verb[40], bytes[60];

	snprintf(verb, sizeof verb, "REQUEST_METHOD=%s", method);
	snprintf(uri, sizeof uri, "REQUEST_URI=%s", target);
	snprintf(path, sizeof path, "SCRIPT_NAME=%s", target);
	web.parameters[n++] = verb;
	web.parameters[n++] = uri;
	web.parameters[n++] = path;
	web.parameters[n++] = "HTTP_HOST=public.example";
	web.parameters[n++] = "REMOTE_ADDR=192.0.2.7";
	if (length != NULL) {
		snprintf(bytes, sizeof bytes, "CONTENT_LENGTH=%s", length);
		web.parameters[n++] = bytes;
	}
	return relay_start(relay, false);
}

/* A reply of the broker. `status` NULL: no head. */
static enum relay_state reply(const char *status, const char *length, const char *body,
			      uint8_t flags, enum fail fail)
{
	struct head head = {0};
	struct gate_msg m = {.kind = GATE_REPLY,
			     .flags = flags,
			     .fail = (uint8_t)fail,
			     .number = 100000,
			     .body = (const uint8_t *)body,
			     .body_bytes = strlen(body)};

	if (status != NULL) {
		head_add(&head, ":status", status);
		if (length != NULL)
			head_add(&head, "content-length", length);
		m.flags |= GATE_HAS_HEAD;
		m.head = head.data;
		m.head_bytes = head.bytes;
	}
	enum relay_state s = relay_take(relay, &m, false);
	head_fini(&head);
	return s;
}

static void expect_asked(enum gate_kind kind, uint8_t flags, const char *body)
{
	const struct gate_msg *m = relay_message(relay);

	assert_int_equal(m->kind, kind);
	assert_int_equal(m->flags, flags);
	assert_int_equal(m->body_bytes, strlen(body));
	if (*body != '\0')
		assert_memory_equal(m->body, body, strlen(body));
}

static void expect_written(const char *status, const char *end)
{
	char line[80];

	snprintf(line, sizeof line, "Status: %s", status);
	assert_memory_equal(web.out, line, strlen(line));
	assert_true(web.out_bytes >= strlen(end));
	assert_string_equal(web.out + web.out_bytes - strlen(end), end);
}

/* --- tests --- */

static void test_get(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x?y", NULL), RELAY_ASK);
	expect_asked(GATE_OPEN, GATE_HAS_LENGTH | GATE_BODY_END, "");
	assert_int_equal(reply(NULL, NULL, "", 0, FAIL_NONE), RELAY_ASK);
	expect_asked(GATE_STEP, 0, "");
	assert_int_equal(reply("200", "5", "he", 0, FAIL_NONE), RELAY_ASK);
	expect_written("200", "\r\n\r\nhe");
	assert_int_equal(reply(NULL, NULL, "llo", GATE_RESPONSE_END, FAIL_NONE), RELAY_OVER);
	expect_written("200", "hello");
	assert_int_equal(relay_end(relay), CGI_KEPT);
	assert_true(web.ended && web.finished && !web.cut);
}

static void test_upload(void **state)
{
	(void)state;
	web.body = "first";
	assert_int_equal(start("POST", "/abc/x", "12"), RELAY_ASK);
	expect_asked(GATE_OPEN, GATE_HAS_LENGTH, "first");
	assert_true(relay_is_uploading(relay));
	assert_int_equal(reply(NULL, NULL, "", 0, FAIL_NONE), RELAY_BODY); /* a thread reads it */
	web.body = "-second";
	assert_int_equal(relay_go_on(relay, true), RELAY_ASK);
	expect_asked(GATE_STEP, GATE_BODY_END, "-second");
	assert_false(relay_is_uploading(relay));
	assert_int_equal(reply("201", "0", "", GATE_RESPONSE_END, FAIL_NONE), RELAY_OVER);
	expect_written("201", "\r\n\r\n");
}

/* A caller that sends nothing makes empty steps, so that an early response is seen. */
static void test_slow_upload(void **state)
{
	(void)state;
	assert_int_equal(start("POST", "/abc/x", "5"), RELAY_ASK);
	expect_asked(GATE_OPEN, GATE_HAS_LENGTH, "");
	assert_int_equal(reply(NULL, NULL, "", 0, FAIL_NONE), RELAY_BODY);
	assert_int_equal(relay_go_on(relay, true), RELAY_ASK);
	expect_asked(GATE_STEP, 0, "");
	assert_int_equal(reply("401", "2", "no", GATE_RESPONSE_END, FAIL_NONE), RELAY_OVER);
	expect_written("401", "no");
	assert_false(web.cut);
}

static void test_too_large(void **state)
{
	static char large[LARGE_BYTES + 2];

	(void)state;
	memset(large, 'x', LARGE_BYTES + 1);
	web.body = large;
	web.parameters[5] = "HTTP_TRANSFER_ENCODING=chunked";
	assert_int_equal(start("POST", "/abc/x", NULL), RELAY_OVER);
	expect_written("413", "");
	assert_non_null(strstr(web.out, "body-too-large; delivered=no"));
}

static void test_too_large_by_length(void **state)
{
	(void)state;
	assert_int_equal(start("POST", "/abc/x", "301"), RELAY_OVER);
	expect_written("413", "");
}

static void test_broken_upload(void **state)
{
	(void)state;
	assert_int_equal(start("POST", "/abc/x", "5"), RELAY_ASK);
	assert_int_equal(reply(NULL, NULL, "", 0, FAIL_NONE), RELAY_BODY);
	web.broken = true;
	assert_int_equal(relay_go_on(relay, true), RELAY_ASK);
	expect_asked(GATE_CANCEL, 0, "");
	assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | GATE_ACCEPTED, FAIL_CANCELLED),
			 RELAY_OVER);
	expect_written("400", "");
}

/* More than was declared never reaches the caller; it would be taken for another response. */
static void test_body_beyond_its_length(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	assert_int_equal(reply("200", "3", "abcHTTP/1.1 200", 0, FAIL_NONE), RELAY_ASK);
	expect_asked(GATE_CANCEL, 0, "");
	expect_written("200", "\r\n\r\nabc");
	assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | GATE_ACCEPTED, FAIL_BAD_RESPONSE),
			 RELAY_OVER);
	assert_int_equal(relay_end(relay), CGI_CUT_LATER);
	assert_false(web.ended);
}

static void test_short_body_is_cut(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	assert_int_equal(reply("200", "9", "abc", GATE_RESPONSE_END, FAIL_NONE), RELAY_OVER);
	assert_int_equal(relay_end(relay), CGI_CUT_LATER);
	assert_false(web.ended);
}

static void test_no_body_for_head(void **state)
{
	(void)state;
	assert_int_equal(start("HEAD", "/abc/x", NULL), RELAY_ASK);
	assert_int_equal(reply("200", "9", "EVIL", GATE_RESPONSE_END, FAIL_NONE), RELAY_OVER);
	expect_written("200", "\r\n\r\n");
	assert_int_equal(relay_end(relay), CGI_KEPT);
}

static void test_failures(void **state)
{
	static const struct {
		enum fail fail;
		uint8_t flags;
		const char *status, *error;
	} rows[] = {
		{FAIL_TUNNEL_UNKNOWN, 0, "503", "tunnel-unknown; delivered=no"},
		{FAIL_TUNNEL_LOST, GATE_ACCEPTED | GATE_MAYBE_DELIVERED, "502",
		 "tunnel-lost; delivered=maybe"},
		{FAIL_SHUTTING_DOWN, GATE_ACCEPTED, "504", "shutting-down; delivered=no"},
		{FAIL_SHUTTING_DOWN, 0, "503", "shutting-down; delivered=no"},
		{FAIL_BROKER_UNAVAILABLE, 0, "503", "broker-unavailable; delivered=no"},
		{FAIL_BROKER_UNAVAILABLE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED, "502",
		 "broker-unavailable; delivered=maybe"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
		assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | rows[i].flags, rows[i].fail),
				 RELAY_OVER);
		expect_written(rows[i].status, "");
		assert_non_null(strstr(web.out, rows[i].error));
		tear_down(state);
		set_up(state);
	}
}

static void test_failure_after_the_head_is_a_cut(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	assert_int_equal(reply("200", NULL, "abc", 0, FAIL_NONE), RELAY_ASK);
	assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | GATE_ACCEPTED, FAIL_TUNNEL_LOST),
			 RELAY_OVER);
	expect_written("200", "\r\n\r\nabc");
	assert_int_equal(relay_end(relay), CGI_CUT_LATER);
}

static void test_bad_head(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	assert_int_equal(reply("99", NULL, "", 0, FAIL_NONE), RELAY_ASK);
	expect_asked(GATE_CANCEL, 0, "");
	assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | GATE_ACCEPTED | GATE_MAYBE_DELIVERED,
			       FAIL_BAD_RESPONSE),
			 RELAY_OVER);
	expect_written("502", "");
}

/* A caller that leaves, while something is sent to it or while nothing is. */
static void test_caller_leaves(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	web.refuses = true;
	assert_int_equal(reply("200", NULL, "abc", 0, FAIL_NONE), RELAY_ASK);
	expect_asked(GATE_CANCEL, 0, "");
	assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | GATE_ACCEPTED, FAIL_CANCELLED),
			 RELAY_OVER);
	assert_true(web.cut);
	tear_down(state);
	set_up(state);
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	web.gone = true;
	assert_int_equal(reply(NULL, NULL, "", 0, FAIL_NONE), RELAY_ASK);
	expect_asked(GATE_CANCEL, 0, "");
	assert_int_equal(reply(NULL, NULL, "", GATE_FAILED | GATE_ACCEPTED, FAIL_CANCELLED),
			 RELAY_OVER);
}

/* Nothing more is asked for while the caller takes nothing: a slow caller slows the app down. */
static void test_slow_reader(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	web.stuck = true;
	assert_int_equal(reply("200", "3", "a", 0, FAIL_NONE), RELAY_STUCK);
	assert_int_equal(relay_go_on(relay, false), RELAY_STUCK);
	web.stuck = false;
	assert_int_equal(relay_go_on(relay, false), RELAY_ASK);
	expect_asked(GATE_STEP, 0, "");
	assert_int_equal(reply(NULL, NULL, "bc", GATE_RESPONSE_END, FAIL_NONE), RELAY_OVER);
	expect_written("200", "abc");
}

static void test_own_replies(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc", NULL), RELAY_OVER);
	expect_written("308", "");
	tear_down(state);
	set_up(state);
	assert_int_equal(start("GET", "/", NULL), RELAY_OVER);
	expect_written("404", "");
	tear_down(state);
	set_up(state);
	assert_int_equal(start("GET", "/healthz", NULL), RELAY_ASK);
	expect_asked(GATE_PING, 0, "");
	const struct gate_msg pong = {.kind = GATE_PONG};
	assert_int_equal(relay_take(relay, &pong, false), RELAY_OVER);
	expect_written("200", "{\"status\":\"ok\"}");
}

static void test_end_now(void **state)
{
	(void)state;
	assert_int_equal(start("GET", "/abc/x", NULL), RELAY_ASK);
	relay_end_now(relay);
	expect_written("504", "");
	assert_int_equal(relay_end(relay), CGI_KEPT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_get),
		TEST(test_upload),
		TEST(test_slow_upload),
		TEST(test_too_large),
		TEST(test_too_large_by_length),
		TEST(test_broken_upload),
		TEST(test_body_beyond_its_length),
		TEST(test_short_body_is_cut),
		TEST(test_no_body_for_head),
		TEST(test_failures),
		TEST(test_failure_after_the_head_is_a_cut),
		TEST(test_bad_head),
		TEST(test_caller_leaves),
		TEST(test_slow_reader),
		TEST(test_own_replies),
		TEST(test_end_now),
	};

	return cmocka_run_group_tests_name("fcgi/relay", tests, NULL, NULL);
}
