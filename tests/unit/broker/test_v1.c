/* Tunnel protocol v1, broker's side: the request as the original's client expects it, and its
 * answers. */
#include "tests/fuzz/world.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* after those that it needs */
#include <cmocka.h>

#define CORR "01010101-0101-0101-0101-010101010101" /* of peer 1 */

static struct world w;

static int set_up(void **state)
{
	(void)state;
	world_init(&w);
	world_connect(&w, 0, &protocol_v1, "a");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	world_fini(&w);
	return 0;
}

/* Peer 1 asks with these fields, ended by NULL, behind method and target. */
static void request(const char *method, const char *target, const char *const *fields,
		    size_t body_bytes)
{
	struct head head = {0};

	head_add(&head, ":method", method);
	head_add(&head, ":target", target);
	for (; fields != NULL && fields[0] != NULL; fields += 2)
		head_add(&head, fields[0], fields[1]);
	world_open(&w, 1, "a", &head, GATE_BODY_END | GATE_HAS_LENGTH, body_bytes);
	world_settle(&w);
	head_fini(&head);
}

/* The message that went down. The caller frees it. */
static json_t *message(void)
{
	struct buf *sent = &w.sockets[0].sent;

	assert_true(buf_bytes(sent) > 0);
	json_t *object = json_loads((const char *)buf_first(sent), 0, NULL);
	assert_int_equal(json_object_size(object), 6);
	buf_consume(sent, buf_bytes(sent));
	return object;
}

static void expect_member(const json_t *object, const char *name, const char *text)
{
	const char *got = json_string_value(json_object_get(object, name));

	if (got == NULL || strcmp(got, text) != 0)
		fail_msg("%s is %s, not %s", name, got ? got : "absent", text);
}

static json_t *headers_of(const json_t *object)
{
	json_t *headers =
		json_loads(json_string_value(json_object_get(object, "headers")), 0, NULL);

	assert_non_null(headers);
	return headers;
}

static void test_request(void **state)
{
	static const char *const fields[] = {"host",
					     "pub.example",
					     "x-dup",
					     "1",
					     "x-dup",
					     "2",
					     "cookie",
					     "a=1",
					     "cookie",
					     "b=2",
					     "x-latin",
					     "\xe9",
					     "accept-encoding",
					     "br",
					     NULL};
	json_t *object, *headers;

	(void)state;
	request("POST", "/a%2Fb%00?x=1&x=%C3%A9+%2B&y&%00=%00z", fields, 2);
	object = message();
	expect_member(object, "correlation_id", CORR);
	expect_member(object, "url_path", "a%2Fb%00");
	expect_member(object, "url_query",
		      "[[\"x\",\"1\"],[\"x\",\"\xc3\xa9 +\"],[\"y\",\"\"],"
		      "[\"\\u0000\",\"\\u0000z\"]]");
	expect_member(object, "method", "POST");
	expect_member(object, "body", "AAA=");
	headers = headers_of(object);
	expect_member(headers, "host", "pub.example");
	expect_member(headers, "x-dup", "1, 2");
	expect_member(headers, "cookie", "a=1; b=2");
	expect_member(headers, "x-latin", "\xc3\xa9");
	expect_member(headers, "accept-encoding", "identity");
	expect_member(headers, "content-length", "2");
	json_decref(headers);
	json_decref(object);
}

static void expect_failure(enum fail f, uint8_t flags)
{
	assert_false(w.peers[1].waiting);
	if (w.peers[1].last.fail != f || w.peers[1].last.flags != (GATE_FAILED | flags))
		fail_msg("%s, flags %u", fail_code((enum fail)w.peers[1].last.fail),
			 w.peers[1].last.flags);
}

static void test_requests_that_v1_cannot_carry(void **state)
{
	static const char *const upgrade[] = {":upgrade", "websocket", NULL};

	(void)state;
	request("PROPFIND", "/", NULL, 0);
	expect_failure(FAIL_UNSUPPORTED, 0);
	request("get", "/", NULL, 0);
	expect_failure(FAIL_UNSUPPORTED, 0);
	request("GET", "/", upgrade, 0);
	expect_failure(FAIL_UNSUPPORTED, 0);
	request("POST", "/", NULL, 3073); /* its base64 alone is over 4096 */
	expect_failure(FAIL_BODY_TOO_LARGE, GATE_ACCEPTED);
	request("POST", "/", NULL, 3072); /* and here with the rest */
	expect_failure(FAIL_BODY_TOO_LARGE, GATE_ACCEPTED);
	assert_int_equal(buf_bytes(&w.sockets[0].sent), 0);
	world_connect(&w, 1, &protocol_v2, "a"); /* a client that can */
	world_hello(&w, 1, "100", "65536", "");
	request("PROPFIND", "/", NULL, 0);
	assert_int_equal(w.sockets[1].tunnel->running_count, 1);
}

static void test_upload_in_pieces(void **state)
{
	struct head head = {0};

	(void)state;
	head_add(&head, ":method", "PUT");
	head_add(&head, ":target", "/");
	world_open(&w, 1, "a", &head, 0, 100);
	world_settle(&w);
	assert_int_equal(w.peers[1].last.number, 3073 - 100);
	assert_int_equal(buf_bytes(&w.sockets[0].sent), 0); /* not before it is whole */
	world_step(&w, 1, GATE_STEP, GATE_BODY_END, 10000, 50);
	world_settle(&w);
	json_t *object = message(), *headers = headers_of(object);
	assert_int_equal(json_string_length(json_object_get(object, "body")), 200);
	expect_member(headers, "content-length", "150");
	json_decref(headers);
	json_decref(object);
	head_fini(&head);
}

static void answer_raw(const char *text)
{
	world_receive(&w, 0, text, strlen(text));
	world_settle(&w);
}

static void answer(const char *corr, const char *headers, const char *body, const char *status)
{
	char text[1024];

	snprintf(text, sizeof text,
		 "{\"correlation_id\":%s,\"headers\":%s,\"body\":%s,\"status_code\":%s}", corr,
		 headers, body, status);
	answer_raw(text);
}

static void expect_field(const char *name, const char *value)
{
	const struct gate_msg *m = &w.peers[1].last;
	struct head_field f;

	assert_false(w.peers[1].waiting);
	assert_int_equal(m->flags, GATE_HAS_HEAD | GATE_RESPONSE_END);
	if (!head_find(m->head, m->head_bytes, name, &f)) {
		if (value != NULL)
			fail_msg("no %s", name);
	} else if (value == NULL || f.value_bytes != strlen(value) ||
		   memcmp(f.value, value, f.value_bytes) != 0) {
		fail_msg("%s is %.*s", name, (int)f.value_bytes, f.value);
	}
}

static void test_answer(void **state)
{
	(void)state;
	request("GET", "/", NULL, 0);
	answer("\"" CORR "\"", "\"{\\\"Content-Length\\\":\\\"99\\\",\\\"X-A\\\":\\\"b\\\"}\"",
	       "\"aGVsbG8=\"", "201");
	expect_field(":status", "201");
	expect_field("x-a", "b");
	expect_field("content-length", "5");
	assert_int_equal(w.peers[1].last.body_bytes, 5);
	assert_memory_equal(w.peers[1].last.body, "hello", 5);
}

static void test_spellings(void **state)
{
	static const char *const ids[] = {"\"" CORR "\"", "\"01010101010101010101010101010101\"",
					  "\"{" CORR "}\"", "\"urn:uuid:" CORR "\"",
					  "\"URN:UUID:" CORR "\""};

	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		request("HEAD", "/", NULL, 0);
		answer(ids[i], "\"{\\\"content-length\\\":\\\"99\\\"}\"", "\"\"", "200.0");
		expect_field("content-length", "99"); /* without a body the app's length stands */
	}
}

/* The length of an answer is that of its body, but where it has none by its nature. */
static void test_lengths(void **state)
{
	static const struct {
		const char *method, *status, *says, *body, *length;
		size_t body_bytes;
	} rows[] = {
		{"GET", "200", "20", "", "0", 0},	 {"POST", "404", NULL, "", "0", 0},
		{"GET", "200", "20", "AAAA", "3", 3},	 {"HEAD", "200", "20", "", "20", 0},
		{"HEAD", "200", NULL, "", NULL, 0},	 {"HEAD", "200", "20", "AAAA", "20", 0},
		{"HEAD", "404", "0", "", "0", 0},	 {"GET", "304", "20", "", "20", 0},
		{"GET", "304", NULL, "AAAA", NULL, 0},	 {"GET", "204", NULL, "", NULL, 0},
		{"OPTIONS", "204", "3", "AAAA", "3", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char headers[128], body[64];
		snprintf(headers, sizeof headers, "\"{\\\"%s\\\":\\\"%s\\\"}\"",
			 rows[i].says ? "Content-Length" : "x", rows[i].says ? rows[i].says : "");
		snprintf(body, sizeof body, "\"%s\"", rows[i].body);
		request(rows[i].method, "/", NULL, 0);
		answer("\"" CORR "\"", headers, body, rows[i].status);
		expect_field("content-length", rows[i].length);
		if (w.peers[1].last.body_bytes != rows[i].body_bytes)
			fail_msg("row %zu: body", i);
	}
}

static void test_codings_that_are_gone(void **state)
{
	static const struct {
		const char *coding, *body, *kept;
	} rows[] = {
		{"gzip", "aGVsbG8=", NULL},
		{"gzip", "H4sIAA==", "gzip"},
		{"deflate", "aGVsbG8=", NULL},
		{"deflate", "eJwDAA==", "deflate"},
		{"br", "aGVsbG8=", "br"},
		{"gzip", "", NULL},
		{"zstd", "aGVsbG8=", NULL},
		{"zstd", "KLUv/QAA", "zstd"},
		{"GZIP", "aGVsbG8=", NULL},
		{"identity", "aGVsbG8=", "identity"},
		/* the last one was applied last: the body begins like it */
		{"deflate, gzip", "aGVsbG8=", NULL},
		{"deflate, gzip", "H4sIAA==", "deflate, gzip"},
		{"gzip ,\\\\t,deflate,", "aGVsbG8=", NULL},
		{"gzip,deflate", "eJwDAA==", "gzip,deflate"},
		{"gzip, identity", "aGVsbG8=", NULL},
		{"br, gzip", "aGVsbG8=", "br, gzip"},
		{"gzip, rot13", "aGVsbG8=", "gzip, rot13"},
		{"", "aGVsbG8=", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char headers[128], body[64];
		snprintf(headers, sizeof headers, "\"{\\\"content-encoding\\\":\\\"%s\\\"}\"",
			 rows[i].coding);
		snprintf(body, sizeof body, "\"%s\"", rows[i].body);
		request("GET", "/", NULL, 0);
		answer("\"" CORR "\"", headers, body, "200");
		expect_field("content-encoding", rows[i].kept);
	}
}

static void test_impossible_answers(void **state)
{
	static const char *const rows[][3] = {
		{"\"\"", "\"\"", "199"},
		{"\"\"", "\"\"", "600"},
		{"\"\"", "\"\"", "200.5"},
		{"\"\"", "\"\"", "\"200\""},
		{"\"\"", "\"\"", "1e30"},
		{"\"\"", "\"\"", "100000000000000000000000000000"},
		{"\"\"", "\"a\"", "200"},
		{"\"\"", "\"aGVsbG8=\\n\"", "200"},
		{"\"\"", "1", "200"},
		{"1", "\"\"", "200"},
		{"\"[]\"", "\"\"", "200"},
		{"\"x\"", "\"\"", "200"},
		{"\"{\\\"a\\\":1}\"", "\"\"", "200"},
		{"\"{\\\"\\\":\\\"x\\\"}\"", "\"\"", "200"},
		{"\"{\\\":status\\\":\\\"x\\\"}\"", "\"\"", "200"},
		{"\"{\\\"a\\\":\\\"x\\\\u0000y\\\"}\"", "\"\"", "200"},
		{"\"{\\\"a\\\\u0000b\\\":\\\"x\\\"}\"", "\"\"", "200"},
		{"\"{\\\"content-length\\\":\\\"1\\\\u00002\\\"}\"", "\"\"", "200"},
		{"\"{\\\"content-encoding\\\":\\\"gzip\\\\u0000\\\"}\"", "\"AAAA\"", "200"},
		{"\"\"", "\"AAAA\\u0000\"", "200"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		request("GET", "/", NULL, 0);
		answer("\"" CORR "\"", rows[i][0], rows[i][1], rows[i][2]);
		if (w.peers[1].waiting)
			fail_msg("row %zu was overlooked", i);
		expect_failure(FAIL_BAD_RESPONSE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	}
	assert_int_equal(w.sockets[0].tunnel->state, TUNNEL_OPEN);
}

static void test_messages_that_are_ignored(void **state)
{
	static const char *const texts[] = {"",	 "{",	 "[]", "null",
					    "1", "\xff", "{}", "{\"correlation_id\":1}"};
	static const char too_long[] = "\"" CORR "01\"";
	static const char with_nul[] = "\"" CORR "\\u0000\"";
	static const char *const ids[] = {with_nul,
					  "\"\"",
					  "\"01\"",
					  too_long,
					  "\"0101010101010101010101010101010g\"",
					  "null",
					  "\"02020202-0202-0202-0202-020202020202\""};

	static const char whole[] = "{\"correlation_id\":\"" CORR "\",\"headers\":\"\","
				    "\"body\":\"\",\"status_code\":200}";

	(void)state;
	request("GET", "/", NULL, 0);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		answer_raw(texts[i]);
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
		answer(ids[i], "\"\"", "\"\"", "200");
	assert_true(w.peers[1].waiting);
	/* from another tunnel of the same id */
	world_connect(&w, 1, &protocol_v1, "a");
	world_receive(&w, 1, whole, strlen(whole));
	world_settle(&w);
	assert_true(w.peers[1].waiting);
	answer("\"" CORR "\"", "\"\"", "\"\"", "200");
	expect_field(":status", "200");
	answer("\"" CORR "\"", "\"\"", "\"\"", "200"); /* once more */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_request),
		TEST(test_requests_that_v1_cannot_carry),
		TEST(test_upload_in_pieces),
		TEST(test_answer),
		TEST(test_spellings),
		TEST(test_lengths),
		TEST(test_codings_that_are_gone),
		TEST(test_impossible_answers),
		TEST(test_messages_that_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
