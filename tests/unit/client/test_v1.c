/* Protocol v1 at the client: which messages are requests, and the responses to them. */
#include "client/session.h"
#include "client/v1.h"
#include "tests/fuzz/fetch_stub.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* after those that it needs */
#include <cmocka.h>

#define CORR "00010203-0405-0607-0809-0a0b0c0d0e0f"

/* A request with these members, given as they stand in JSON. */
static bool read_request(struct v1_request *r, const char *path, const char *query,
			 const char *headers, const char *body)
{
	char json[1024];

	*r = (struct v1_request){0};
	snprintf(json, sizeof json,
		 "{\"correlation_id\":\"" CORR "\",\"method\":\"POST\",\"url_path\":%s,"
		 "\"url_query\":%s,\"headers\":%s,\"body\":%s}",
		 path, query, headers, body);
	return v1_request_read(r, json, strlen(json));
}

static void expect_target(const char *path, const char *query, const char *target)
{
	struct v1_request r;
	struct head_field f;

	assert_true(read_request(&r, path, query, "\"{}\"", "\"\""));
	assert_true(head_find(r.head.data, r.head.bytes, ":target", &f));
	if (f.value_bytes != strlen(target) || memcmp(f.value, target, f.value_bytes) != 0)
		fail_msg("%s became %.*s", path, (int)f.value_bytes, f.value);
	v1_request_fini(&r);
}

static void test_targets(void **state)
{
	(void)state;
	expect_target("\"\"", "\"[]\"", "/");
	expect_target("\"a/b%20c%2Fd\"", "\"[]\"", "/a/b%20c%2Fd");
	expect_target("\"50%\"", "\"[]\"", "/50%25");
	expect_target("\"a?b#c d\"", "\"[]\"", "/a%3Fb%23c%20d");
	expect_target("\"\\u00e9\\r\\n\"", "\"[]\"", "/%C3%A9%0D%0A");
	expect_target("\"x\"", "\"[[\\\"a\\\",\\\"1\\\"],[\\\"a\\\",\\\"\\\"]]\"", "/x?a=1&a=");
	expect_target("\"a\\u0000b\"", "\"[[\\\"\\\\u0000\\\",\\\"x\\\\u0000y\\\"]]\"",
		      "/a%00b?%00=x%00y");
	expect_target("\"x\"", "\"[[\\\"a&=\\\",\\\"+ \\u00e9\\\"]]\"", "/x?a%26%3D=%2B%20%C3%A9");
}

static void test_body_and_length(void **state)
{
	struct v1_request r;
	struct head_field f;

	(void)state;
	assert_true(read_request(&r, "\"\"", "\"[]\"", "\"{}\"", "\"aGVsbG8=\""));
	assert_int_equal(r.body_bytes, 5);
	assert_memory_equal(r.body, "hello", 5);
	assert_true(head_find(r.head.data, r.head.bytes, ":length", &f));
	assert_memory_equal(f.value, "5", 1);
	v1_request_fini(&r);

	/* the declared length is that of the body, whatever the header says */
	assert_true(read_request(&r, "\"\"", "\"[]\"", "\"{\\\"Content-Length\\\":\\\"99\\\"}\"",
				 "\"\""));
	assert_true(head_find(r.head.data, r.head.bytes, ":length", &f));
	assert_int_equal(f.value_bytes, 1);
	assert_memory_equal(f.value, "0", 1);
	v1_request_fini(&r);
}

static void test_impossible_requests(void **state)
{
	static const char *const rows[][4] = {
		{"1", "\"[]\"", "\"{}\"", "\"\""},
		{"\"\"", "null", "\"{}\"", "\"\""},
		{"\"\"", "\"\"", "\"{}\"", "\"\""},
		{"\"\"", "\"{}\"", "\"{}\"", "\"\""},
		{"\"\"", "\"[[\\\"a\\\"]]\"", "\"{}\"", "\"\""},
		{"\"\"", "\"[[\\\"a\\\",1]]\"", "\"{}\"", "\"\""},
		{"\"\"", "\"[\\\"ab\\\"]\"", "\"{}\"", "\"\""},
		{"\"\"", "\"[]\"", "\"[]\"", "\"\""},
		{"\"\"", "\"[]\"", "\"\"", "\"\""},
		{"\"\"", "\"[]\"", "{}", "\"\""},
		{"\"\"", "\"[]\"", "\"{\\\"a\\\":1}\"", "\"\""},
		{"\"\"", "\"[]\"", "\"{\\\":method\\\":\\\"GET\\\"}\"", "\"\""},
		{"\"\"", "\"[]\"", "\"{\\\"\\\":\\\"x\\\"}\"", "\"\""},
		{"\"\"", "\"[]\"", "\"{\\\"a\\\\u0000b\\\":\\\"x\\\"}\"", "\"\""},
		{"\"\"", "\"[]\"", "\"{}\"", "\"a\""},
		{"\"\"", "\"[]\"", "\"{}\"", "\"aGVs\\u0000\""},
		{"\"\"", "\"[]\"", "\"{}\"", "\"aGVsbG8=\\n\""},
	};
	static const char id_with_nul[] = "{\"correlation_id\":\"" CORR "\\u0000\"}";
	static const char *const messages[] = {
		"", "{", "[]", "null", "{}", "\xff", "{\"body\":\"\"}", id_with_nul};
	struct v1_request r;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (read_request(&r, rows[i][0], rows[i][1], rows[i][2], rows[i][3]))
			fail_msg("row %zu is no request", i);
		assert_string_equal(r.correlation_id, CORR); /* it wants an answer even so */
		v1_request_fini(&r);
	}
	for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
		r = (struct v1_request){0};
		if (v1_request_read(&r, messages[i], strlen(messages[i])))
			fail_msg("message %zu is no request", i);
		assert_null(r.correlation_id);
		v1_request_fini(&r);
	}
}

/* --- a session, with a stand-in for the app --- */

static void *open_session(void)
{
	static const struct session_socket socket; /* v1 asks nothing of it */

	return session_v1.open(NULL, &socket);
}

static void receive_method(void *session, const char *method, const char *headers)
{
	char message[512];

	snprintf(message, sizeof message,
		 "{\"correlation_id\":\"" CORR
		 "\",\"method\":\"%s\",\"url_path\":\"\",\"url_query\":\"[]\","
		 "\"headers\":%s,\"body\":\"\"}",
		 method, headers);
	session_v1.receive(session, (const uint8_t *)message, strlen(message));
}

static void receive_with(void *session, const char *headers)
{
	receive_method(session, "GET", headers);
}

static void receive_get(void *session)
{
	receive_with(session, "\"{}\"");
}

/* The next message. NULL: none. The caller frees it. */
static json_t *pull_answer(void *session)
{
	static uint8_t piece[SESSION_PULL_BYTES];
	struct buf text = {0};
	bool first, final;
	size_t bytes;

	while ((bytes = session_v1.pull(session, piece, &first, &final)) > 0) {
		assert_int_equal(first, buf_bytes(&text) == 0);
		buf_append(&text, piece, bytes);
		if (final)
			break;
	}
	json_t *answer =
		text.data ? json_loadb((const char *)buf_first(&text), buf_bytes(&text), 0, NULL)
			  : NULL;
	buf_fini(&text);
	return answer;
}

static void expect_answer(json_t *answer, int status, const char *body)
{
	assert_non_null(answer);
	assert_string_equal(json_string_value(json_object_get(answer, "correlation_id")), CORR);
	assert_int_equal(json_integer_value(json_object_get(answer, "status_code")), status);
	assert_string_equal(json_string_value(json_object_get(answer, "body")), body);
}

static void test_answer(void **state)
{
	void *session = open_session();

	(void)state;
	assert_true(session_v1.is_idle(session));
	receive_get(session);
	assert_false(session_v1.is_idle(session));
	assert_null(pull_answer(session)); /* not before the app has ended it */
	struct fetch *f = stub_fetch(0);
	assert_int_equal(stub_read_body(f, 10), FETCH_END);
	assert_true(stub_answer_data(f, 3));
	stub_end(f, FAIL_NONE);
	json_t *answer = pull_answer(session);
	expect_answer(answer, 200, "AAAA");
	json_t *headers =
		json_loads(json_string_value(json_object_get(answer, "headers")), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(headers, "set-cookie")), "a=b");
	assert_string_equal(json_string_value(json_object_get(headers, "Set-cookie")),
			    "c=\xc3\xbf");
	assert_string_equal(json_string_value(json_object_get(headers, "x-dup")),
			    "1, \xc3\xa9, \xc3\xa9");
	assert_null(json_object_get(headers, ":status"));
	json_decref(headers);
	json_decref(answer);
	assert_true(session_v1.is_idle(session));
	session_v1.free(session);
}

static void test_answer_of_a_failed_app(void **state)
{
	void *session = open_session();

	(void)state;
	receive_get(session);
	(void)stub_answer_data(stub_fetch(0), 100);
	stub_end(stub_fetch(0), FAIL_TARGET_UNREACHABLE);
	json_t *answer = pull_answer(session);
	expect_answer(answer, 504, "");
	assert_string_equal(json_string_value(json_object_get(answer, "headers")), "{}");
	json_decref(answer);
	session_v1.free(session);
}

static void expect_refusal(void *session, int status)
{
	json_t *answer = pull_answer(session);

	expect_answer(answer, status, "");
	assert_string_equal(json_string_value(json_object_get(answer, "headers")), "{}");
	json_decref(answer);
}

/* Methods that a tunnel of v1 does not have: as the broker would say to the caller. */
static void test_unknown_methods(void **state)
{
	static const char *const methods[] = {"PROPFIND", "TRACE", "CONNECT", "get", "GETX"};
	void *session = open_session();

	(void)state;
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		receive_method(session, methods[i], "\"{}\"");
		expect_refusal(session, 501);
	}
	assert_int_equal(stub_fetch_count, 0);
	receive_method(session, "OPTIONS", "\"{}\"");
	assert_int_equal(stub_fetch_count, 1);
	session_v1.free(session);
}

/* The caller waits for a response. */
static void test_requests_that_cannot_be_made(void **state)
{
	void *session = open_session();

	(void)state;
	receive_with(session, "7");
	expect_refusal(session, 400);
	receive_with(session, "\"{\\\"a\\\":7}\"");
	expect_refusal(session, 400);
	receive_with(session, "\"{\\\"a\\\":\\\"x\\\\u0000y\\\"}\"");
	expect_refusal(session, 400);
	assert_int_equal(stub_fetch_count, 0);
	assert_true(session_v1.is_idle(session));
	session_v1.receive(session, (const uint8_t *)"{\"correlation_id\":7}", 20);
	assert_true(session_v1.is_idle(session)); /* nobody did */
	session_v1.free(session);
}

static void test_more_requests_than_there_is_room_for(void **state)
{
	void *session = open_session();
	size_t refused = 0;
	json_t *answer;

	(void)state;
	for (int i = 0; i < 2001; i++)
		receive_get(session);
	assert_int_equal(stub_fetch_count, 1000);
	for (; (answer = pull_answer(session)) != NULL; refused++) {
		expect_answer(answer, 503, "");
		json_decref(answer);
	}
	assert_int_equal(refused, 1000); /* a server that reads nothing is told no more than that */
	stub_end(stub_fetch(0), FAIL_NONE);
	answer = pull_answer(session);
	expect_answer(answer, 200, "");
	json_decref(answer);
	session_v1.free(session);
}

#define MIB (1024 * 1024)

/* How many of the fetches have been resumed since. */
static size_t resumed(void)
{
	struct fetch *f;
	size_t count = 0;

	TAILQ_FOREACH (f, &stub_fetches, link) {
		count += f->resumed;
		f->resumed = false;
	}
	return count;
}

static void expect_too_large(void *session)
{
	assert_true(session_v1.must_resume(session));
	session_v1.resume(session);
	assert_false(session_v1.must_resume(session));
	assert_int_equal(stub_fetch_count, 0); /* nothing more is read from the app */
	json_t *answer = pull_answer(session);
	const char *headers = json_string_value(json_object_get(answer, "headers"));
	assert_int_equal(json_integer_value(json_object_get(answer, "status_code")), 502);
	assert_string_equal(headers, "{\"content-type\":\"application/json\"}");
	json_decref(answer);
	assert_true(session_v1.is_idle(session));
}

static void test_answer_too_large(void **state)
{
	void *session = open_session();

	(void)state;
	receive_get(session);
	for (int i = 0; i < 11; i++)
		assert_true(stub_answer_data(stub_fetch(0), MIB));
	assert_false(stub_answer_data(stub_fetch(0), MIB));
	expect_too_large(session);
	session_v1.free(session);
}

static void test_answer_declared_too_large(void **state)
{
	void *session = open_session();
	struct head h = {0};

	(void)state;
	receive_get(session);
	head_add(&h, ":status", "200");
	head_add(&h, "content-length", "12345678901");
	stub_fetch(0)->events->head(stub_fetch(0)->ctx, &h);
	head_fini(&h);
	expect_too_large(session);
	session_v1.free(session);
}

/* 64 MiB for all; the oldest may always go on, unless whole ones wait to be sent. */
static void test_answers_have_one_budget(void **state)
{
	void *session = open_session();
	json_t *answer;

	(void)state;
	for (int i = 0; i < 40; i++)
		receive_get(session);
	for (size_t i = 0; i < 8; i++) {
		for (int mib = 0; mib < 8; mib++)
			assert_true(stub_answer_data(stub_fetch(i), MIB));
	}
	for (size_t i = 1; i < 40; i++)
		assert_false(stub_answer_data(stub_fetch(i), 1));
	session_v1.resume(session);
	assert_int_equal(resumed(), 0);
	assert_true(stub_answer_data(stub_fetch(0), MIB));
	stub_end(stub_fetch(0), FAIL_NONE);
	/* 9 MiB of it wait to be sent: until they have gone, not even the next oldest goes on */
	assert_false(stub_answer_data(stub_fetch(0), MIB));
	assert_false(session_v1.must_resume(session));
	answer = pull_answer(session);
	json_decref(answer);
	assert_true(session_v1.must_resume(session));
	session_v1.resume(session);
	resumed();
	for (size_t left = 39; left > 0; left--) {
		assert_int_equal(stub_fetch_count, left);
		stub_end(stub_fetch(0), left % 2 ? FAIL_NONE : FAIL_TARGET_UNREACHABLE);
		answer = pull_answer(session);
		assert_non_null(answer);
		json_decref(answer);
		session_v1.resume(session);
	}
	assert_true(session_v1.is_idle(session));
	session_v1.free(session);
}

/* Request bodies count too: a message that would be beyond the budget is refused. */
static void test_requests_have_one_budget(void **state)
{
	static const char begin[] = "{\"correlation_id\":\"" CORR
				    "\",\"method\":\"PUT\",\"url_path\":\"\",\"url_query\":\"[]\","
				    "\"headers\":\"{}\",\"body\":\"";
	size_t bytes = sizeof begin - 1 + 12 * MIB + 2;
	char *message = xmalloc(bytes);
	void *session = open_session();

	(void)state;
	memset(message, 'A', bytes);
	memcpy(message, begin, sizeof begin - 1);
	memcpy(message + bytes - 2, "\"}", 2);
	for (int i = 0; i < 10; i++) /* 9 MiB each */
		session_v1.receive(session, (const uint8_t *)message, bytes);
	assert_int_equal(stub_fetch_count, 7);
	for (int i = 0; i < 3; i++)
		expect_refusal(session, 503);
	stub_end(stub_fetch(0), FAIL_NONE);
	session_v1.receive(session, (const uint8_t *)message, bytes);
	assert_int_equal(stub_fetch_count, 7);
	session_v1.free(session);
	free(message);
}

/* Refused before it is parsed: it would take a hundred times its size. */
static void test_json_is_bounded(void **state)
{
	static const struct {
		const char *begin, *text, *end;
	} rows[] = {
		{"{\"correlation_id\":\"" CORR "\",\"x\":[0", ",{}", "]}"},
		{"{\"correlation_id\":\"" CORR "\",\"x\":[0", ",0", "]}"},
		{"{\"correlation_id\":\"" CORR "\",\"x\":", "[", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct v1_request r = {0};
		struct buf json = {0};
		buf_append(&json, rows[i].begin, strlen(rows[i].begin));
		for (int n = 0; n < 5000000; n++)
			buf_append(&json, rows[i].text, strlen(rows[i].text));
		buf_append(&json, rows[i].end, strlen(rows[i].end));
		assert_false(v1_request_read(&r, buf_first(&json), buf_bytes(&json)));
		assert_null(r.correlation_id);
		v1_request_fini(&r);
		buf_fini(&json);
	}
}

static void test_inner_json_is_bounded(void **state)
{
	char *text = xmalloc(300 * 1024 + 1), *json = xmalloc(700 * 1024);
	struct v1_request r;

	(void)state;
	for (int row = 0; row < 3; row++) {
		size_t bytes = row == 2 ? 65 * 1024 : 300 * 1024;
		for (size_t i = 0; i < bytes; i++)
			text[i] = row == 2 ? 'a' : "[],"[i % 3];
		text[bytes] = '\0';
		r = (struct v1_request){0};
		int length = snprintf(
			json, 700 * 1024,
			"{\"correlation_id\":\"" CORR "\",\"method\":\"GET\",\"url_path\":\"%s\","
			"\"url_query\":\"[%s[]]\",\"headers\":\"{%s}\",\"body\":\"\"}",
			row == 2 ? text : "", row == 0 ? text : "", row == 1 ? text : "");
		assert_false(v1_request_read(&r, json, (size_t)length));
		assert_string_equal(r.correlation_id, CORR);
		v1_request_fini(&r);
	}
	free(text);
	free(json);
}

static void test_the_tunnel_goes_while_requests_run(void **state)
{
	void *session = open_session();

	(void)state;
	for (int i = 0; i < 3; i++)
		receive_get(session);
	assert_int_equal(stub_fetch_count, 3);
	stub_end(stub_fetch(1), FAIL_NONE);
	session_v1.free(session);
	assert_int_equal(stub_fetch_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_body_and_length),
		cmocka_unit_test(test_impossible_requests),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_of_a_failed_app),
		cmocka_unit_test(test_requests_that_cannot_be_made),
		cmocka_unit_test(test_unknown_methods),
		cmocka_unit_test(test_more_requests_than_there_is_room_for),
		cmocka_unit_test(test_answer_too_large),
		cmocka_unit_test(test_answer_declared_too_large),
		cmocka_unit_test(test_answers_have_one_budget),
		cmocka_unit_test(test_requests_have_one_budget),
		cmocka_unit_test(test_json_is_bounded),
		cmocka_unit_test(test_inner_json_is_bounded),
		cmocka_unit_test(test_the_tunnel_goes_while_requests_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
