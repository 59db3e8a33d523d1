/* What a local app may answer: each row in one piece, byte by byte, and for an owner who stops
 * after each piece. */
#include "client/response_parser.h"

#include "common/buf.h"
#include "common/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

#define OK	"HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

#define ONE_CHUNK "1\r\nx\r\n0\r\n\r\n"

static const struct target target = {.url = "http://localhost:3000/base"};
static struct host_hint hint;

/* What came of it. */
struct taken {
	struct head head;
	struct buf body;
	bool stalls, stalled;
	size_t heads;
};

static void on_head(void *ctx, const struct head *h)
{
	struct taken *t = ctx;

	t->heads++;
	head_append(&t->head, h);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct taken *t = ctx;

	assert_true(t->heads == 1 && !t->stalled && bytes > 0);
	buf_append(&t->body, data, bytes);
	t->stalled = t->stalls;
	return !t->stalled;
}

static void fini(struct taken *t)
{
	head_fini(&t->head);
	buf_fini(&t->body);
}

static void begin(struct response_parser *a, enum response_to to, struct taken *t)
{
	response_parser_begin(a, to, &(struct response_events){on_head, on_data}, t);
}

/* Gives it `piece_bytes` at once, and the end of the connection behind. *left: what was not
 * taken. */
static enum response_state give(struct response_parser *a, struct taken *t, const char *text,
				size_t bytes, size_t piece_bytes, size_t *left)
{
	enum response_state state = RESPONSE_GOING;
	size_t used, have = 0;

	*left = 0;
	while (state == RESPONSE_GOING && bytes > 0) {
		have = bytes < piece_bytes ? bytes : piece_bytes;
		bytes -= have;
		do {
			t->stalled = false;
			state = response_parser_feed(a, text, have, &used);
			assert_true(used <= have);
			text += used;
			have -= used;
		} while (state == RESPONSE_STALLED);
	}
	*left = have + bytes;
	return state == RESPONSE_GOING ? response_parser_end(a) : state;
}

static const struct row {
	enum response_to to;
	const char *text;
	enum response_state state;
	int status;
	const char *body;
	bool keeps_open;
	size_t left;
} rows[] = {
	/* whole ones */
	{0, OK "Content-Length: 5\r\n\r\nhello", RESPONSE_COMPLETE, 200, "hello", true, 0},
	{0, OK "Content-Length: 5\r\n\r\nhello, you", RESPONSE_COMPLETE, 200, "hello", true, 5},
	{0, OK "Content-Length: 0\r\n\r\n", RESPONSE_COMPLETE, 200, "", true, 0},
	{0, OK "Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", RESPONSE_COMPLETE, 200,
	 "hello", true, 0},
	{0, OK "Content-Length: 5, 5\r\n\r\nhello", RESPONSE_COMPLETE, 200, "hello", true, 0},
	{0, OK "Connection: close\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x",
	 false, 0},
	{0, OK "\r\nuntil it closes", RESPONSE_COMPLETE, 200, "until it closes", false, 0},
	{0, CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n", RESPONSE_COMPLETE, 200,
	 "abcde", true, 0},
	{0, CHUNKED "1 ;a=\"b;c\"\r\nx\r\n000\r\n\r\n", RESPONSE_COMPLETE, 200, "x", true, 0},
	{0, CHUNKED "0A\r\n0123456789\r\n0\r\n\r\nrest", RESPONSE_COMPLETE, 200, "0123456789", true,
	 4},
	{0, "HTTP/1.1 200\r\n\r\n", RESPONSE_COMPLETE, 200, "", false, 0},
	/* of an app whose connection is better not used again */
	{0, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x", false, 0},
	{0, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
	 RESPONSE_COMPLETE, 200, "x", false, 0},
	{0, OK "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\nx\r\n0\r\n\r\n",
	 RESPONSE_COMPLETE, 200, "x", false, 0},
	{0, OK "Connection: x, Close\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x",
	 false, 0},
	{0, OK "Proxy-Connection: close\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x",
	 false, 0},
	{0, OK "Keep-Alive: timeout=5, max=9\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200,
	 "x", true, 0},
	{0, OK "Keep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x",
	 false, 0},
	{0, OK "Keep-Alive: timeout=5, max=0\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200,
	 "x", false, 0},
	{0, OK "WWW-Authenticate: Basic realm=\"a, b\"\r\nContent-Length: 1\r\n\r\nx",
	 RESPONSE_COMPLETE, 200, "x", true, 0},
	{0, OK "WWW-Authenticate: Basic realm=a, NTLM\r\nContent-Length: 1\r\n\r\nx",
	 RESPONSE_COMPLETE, 200, "x", false, 0},
	{0, OK "WWW-Authenticate: Negotiate oYGgMA==\r\nContent-Length: 1\r\n\r\nx",
	 RESPONSE_COMPLETE, 200, "x", false, 0},
	{0, OK "Proxy-Authenticate: Negotiate\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE,
	 200, "x", false, 0},
	{0, OK "Persistent-Auth: true\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x",
	 false, 0},
	{0, "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", RESPONSE_COMPLETE, 200, "x", false, 0},
	{0, "HTTP/1.1  200 OK\r\nContent-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x", false,
	 0},
	{0, "\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", RESPONSE_COMPLETE, 200, "x", false, 0},
	/* without a body, whatever they say; some apps send one even so */
	{RESPONSE_TO_HEAD, OK "Content-Length: 5\r\n\r\n", RESPONSE_COMPLETE, 200, "", false, 0},
	{RESPONSE_TO_HEAD, OK "Content-Length: 5\r\n\r\nhello", RESPONSE_COMPLETE, 200, "", false,
	 5},
	{RESPONSE_TO_HEAD, CHUNKED, RESPONSE_COMPLETE, 200, "", false, 0},
	{0, "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", RESPONSE_COMPLETE, 204, "", false, 0},
	{0, "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", RESPONSE_COMPLETE, 304, "", false, 0},
	/* informational ones */
	{0,
	 "HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 100 C\r\n\r\n" OK "Content-Length: 1\r\n\r\nx",
	 RESPONSE_COMPLETE, 200, "x", true, 0},
	{0, "HTTP/1.0 100 C\r\n\r\n" OK "Content-Length: 0\r\n\r\n", RESPONSE_COMPLETE, 200, "",
	 true, 0},
	{0, "HTTP/1.1 100 C\r\nContent-Length: 1\r\n\r\nx", RESPONSE_BAD, 0, "", false, 1},
	{0, "HTTP/1.1 100 C\r\n\r\n", RESPONSE_CUT, 0, "", false, 0},
	/* cut */
	{0, "", RESPONSE_CUT, 0, "", false, 0},
	{0, "HTT", RESPONSE_CUT, 0, "", false, 0},
	{0, OK "X: ", RESPONSE_CUT, 0, "", false, 0},
	{0, OK "Content-Length: 5\r\n\r\nhell", RESPONSE_CUT, 200, "hell", false, 0},
	{0, OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", RESPONSE_CUT, 200, "hello",
	 false, 0},
	/* another protocol */
	{0, "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", RESPONSE_BAD, 0,
	 "", false, 1},
	{RESPONSE_TO_HANDSHAKE,
	 "HTTP/1.1 101 S\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\nabc",
	 RESPONSE_SWITCHED, 101, "", false, 3},
	{RESPONSE_TO_HANDSHAKE,
	 "HTTP/1.1 101 S\r\nContent-Length: 2\r\nUpgrade: websocket\r\nConnection: "
	 "Upgrade\r\n\r\nabc",
	 RESPONSE_SWITCHED, 101, "", false, 3},
	{RESPONSE_TO_HANDSHAKE, "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
	 RESPONSE_BAD, 0, "", false, 1},
	{RESPONSE_TO_HANDSHAKE, "HTTP/1.1 101 S\r\n\r\n", RESPONSE_BAD, 0, "", false, 1},
	{RESPONSE_TO_HANDSHAKE, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", RESPONSE_COMPLETE,
	 403, "no", true, 0},
};

static void check(const struct row *r, size_t piece_bytes, bool stalls)
{
	struct response_parser *a = response_parser_new(&target, &hint);
	size_t left, bytes = strlen(r->text);

	for (int again = 0; again < 2; again++) { /* it serves more than once */
		struct taken t = {.stalls = stalls};
		begin(a, r->to, &t);
		enum response_state state = give(a, &t, r->text, bytes, piece_bytes, &left);
		if (state != r->state || response_parser_status(a) != r->status ||
		    t.heads != (r->status != 0) || buf_bytes(&t.body) != strlen(r->body) ||
		    (buf_bytes(&t.body) > 0 &&
		     memcmp(buf_first(&t.body), r->body, strlen(r->body)) != 0))
			fail_msg("%s: state %d, status %d", r->text, state,
				 response_parser_status(a));
		if (response_parser_keeps_open(a) != r->keeps_open)
			fail_msg("%s: keeps open", r->text);
		if (state != RESPONSE_BAD)
			assert_int_equal(left, r->left);
		fini(&t);
	}
	response_parser_destroy(&a);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (int stalls = 0; stalls < 2; stalls++) {
			for (size_t bytes = 1; bytes < 8; bytes++)
				check(&rows[i], bytes, stalls);
			check(&rows[i], SIZE_MAX, stalls);
		}
	}
}

static enum response_state state_of(const char *text, size_t bytes, size_t piece_bytes)
{
	struct response_parser *a = response_parser_new(&target, &hint);
	struct taken t = {0};
	size_t left;

	begin(a, RESPONSE_TO_REQUEST, &t);
	enum response_state state = give(a, &t, text, bytes, piece_bytes, &left);
	fini(&t);
	response_parser_destroy(&a);
	return state;
}

static const char *const texts[] = {
	"garbage\r\n\r\n",
	"<html>hello</html>",
	"HTTP/0.9 200 OK\r\n\r\n",
	"HTTP/2 200 OK\r\n\r\n",
	"HTTP/1.1 99 Low\r\n\r\n",
	"HTTP/1.1 600 High\r\n\r\n",
	"HTTP/1.1 20x\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	OK "X-Bad\x01: 1\r\n\r\n",
	OK "X-Bad: a\x01"
	   "b\r\n\r\n",
	OK "X-Bad: \x7f\r\n\r\n",
	OK "X Bad: 1\r\n\r\n",
	OK ": 1\r\n\r\n",
	OK "no colon\r\n\r\n",
	OK "X-Folded: a\r\n b\r\n\r\n",
	OK "X-Folded: a\r\n\tb: c\r\n\r\n",
	OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
	OK "Content-Length: -1\r\n\r\n",
	OK "Content-Length: 1, 2\r\n\r\n",
	OK "Content-Length: 99999999999999999999\r\n\r\n",
	OK "Content-Length:\r\n\r\n",
	OK "Content-Length: +1\r\n\r\nx",
	OK "Content-Length: 0x1\r\n\r\nx",
	OK "Content-Length: 1 1\r\n\r\nx",
	OK "Content-Length: 1, 1, 2\r\n\r\nx",
	OK "Content-Length: 1,\r\nContent-Length: 2\r\n\r\nx",
	OK "Content-Length : 1\r\n\r\nx",
	OK "X: a\rb\r\n\r\n",
	OK "X: a\r\r\n\r\n",
	OK " X: first\r\n\r\n",
	"HTTP/1.1 200OK\r\n\r\n",
	"HTTP/1.12 200 OK\r\n\r\n",
	"HTTP/1.1 2\r\n\r\n",
	"\r\n\r\n\r\n\r\n\r\n" OK "\r\n",
	"HXXX/1.1 200 OK\r\n\r\n",
	"HT\r\n",
	"HTTP/1.1 0200 OK\r\n\r\n",
	"HTTP/1.1 200 O\x01K\r\n\r\n",
	"HTTP/1.1 200 OK\rX: 1\r\n\r\n",
	"HTTP/1.1 103 E\r\nX Bad: 1\r\n\r\n" OK "\r\n",
	OK ":\r\n\r\n",
	OK "X:\rY: 1\r\n\r\n",
	OK "\rX",
	/* codings that are not exactly one "chunked" */
	OK "Transfer-Encoding: chunked, chunked\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: gzip, chunked\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: chunked, gzip\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: identity\r\n\r\nx",
	OK "Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
	OK "Transfer-Encoding: xchunked\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: chunkedx\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: chunked;q=1\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding: \"chunked\"\r\n\r\n" ONE_CHUNK,
	OK "Transfer-Encoding:\r\nContent-Length: 1\r\n\r\nx",
	/* chunks that two readers could understand in two ways */
	CHUNKED "xyz\r\n",
	CHUNKED "\r\nx\r\n0\r\n\r\n",
	CHUNKED ";x\r\n",
	CHUNKED "1\r\nabc\r\n",
	CHUNKED "1\r\nx\r\n\r\n",
	CHUNKED "1\r\nxAB0\r\n\r\n",
	CHUNKED "1\r\nx\n0\r\n\r\n",
	CHUNKED "1\rZx\r\n0\r\n\r\n",
	CHUNKED "1\nx\n0\n\n",
	CHUNKED "1;a\nb\r\nx\r\n0\r\n\r\n",
	CHUNKED "1 1\r\nx\r\n0\r\n\r\n",
	CHUNKED "0x1\r\nx\r\n0\r\n\r\n",
	CHUNKED "-1\r\nx\r\n0\r\n\r\n",
	CHUNKED "8000000000000000\r\n",
	CHUNKED "10000000000000001\r\nx\r\n0\r\n\r\n",
	CHUNKED "ffffffffffffffffff\r\n",
	CHUNKED "0\r\nno colon\r\n\r\n",
	CHUNKED "0\r\nA: b\r\n c\r\n\r\n",
	CHUNKED "0\r\nA: b\x01\r\n\r\n",
	CHUNKED "\xff\r\n\r\n",
	CHUNKED "1\r\nx\r\n0\xff\r\n\r\n",
	CHUNKED "1;a\x01\r\nx\r\n0\r\n\r\n",
	CHUNKED "0\r\na b: c\r\n\r\n",
	CHUNKED "0\r\n\rX",
};

static void test_impossible(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		for (size_t bytes = 1; bytes < 64; bytes++) {
			if (state_of(texts[i], strlen(texts[i]), bytes) != RESPONSE_BAD)
				fail_msg("%s, %zu at once", texts[i], bytes);
		}
	}
	assert_int_equal(state_of(OK "X: a\0b\r\n\r\n", sizeof OK - 1 + 10, SIZE_MAX),
			 RESPONSE_BAD);
}

/* A head of so many fields, with values of 1 KiB. */
static enum response_state state_of_large(size_t count, size_t piece_bytes)
{
	static char value[1024];
	struct buf text = {0};

	memset(value, 'v', sizeof value);
	buf_append(&text, OK, sizeof OK - 1);
	for (size_t i = 0; i < count; i++) {
		buf_append(&text, "X-Large: ", 9);
		buf_append(&text, value, sizeof value);
		buf_append(&text, "\r\n", 2);
	}
	buf_append(&text, "\r\n", 2);
	enum response_state state =
		state_of((const char *)buf_first(&text), buf_bytes(&text), piece_bytes);
	buf_fini(&text);
	return state;
}

static void test_head_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(state_of_large(60, SIZE_MAX), RESPONSE_COMPLETE);
	assert_int_equal(state_of_large(60, 100), RESPONSE_COMPLETE);
	assert_int_equal(state_of_large(65, SIZE_MAX), RESPONSE_BAD);
	assert_int_equal(state_of_large(65, 100), RESPONSE_BAD);
}

/* What stands so many times between `begin` and `end`. */
static enum response_state state_of_many(const char *begin, const char *text, size_t count,
					 const char *end, size_t piece_bytes)
{
	struct buf all = {0};

	buf_append(&all, begin, strlen(begin));
	for (size_t i = 0; i < count; i++)
		buf_append(&all, text, strlen(text));
	buf_append(&all, end, strlen(end));
	enum response_state state =
		state_of((const char *)buf_first(&all), buf_bytes(&all), piece_bytes);
	buf_fini(&all);
	return state;
}

static void test_floods_are_bounded(void **state)
{
	static const char interim[] = "HTTP/1.1 103 E\r\nLink: x\r\n\r\n";
	static const char last[] = OK "Content-Length: 0\r\n\r\n";

	(void)state;
	for (size_t bytes = 100; bytes <= 100000; bytes *= 1000) {
		assert_int_equal(state_of_many("", interim, 64, last, bytes), RESPONSE_COMPLETE);
		assert_int_equal(state_of_many("", interim, 65, last, bytes), RESPONSE_BAD);
		assert_int_equal(
			state_of_many(CHUNKED "1;", "x", 4000, "\r\nx\r\n0\r\n\r\n", bytes),
			RESPONSE_COMPLETE);
		assert_int_equal(
			state_of_many(CHUNKED "1;", "x", 5000, "\r\nx\r\n0\r\n\r\n", bytes),
			RESPONSE_BAD);
		assert_int_equal(state_of_many(CHUNKED "0\r\n", "a: b\r\n", 9000, "\r\n", bytes),
				 RESPONSE_COMPLETE);
		assert_int_equal(state_of_many(CHUNKED "0\r\n", "a: b\r\n", 12000, "\r\n", bytes),
				 RESPONSE_BAD);
		assert_int_equal(state_of_many("HTTP/1.1 200 ", "x", 100000, "\r\n\r\n", bytes),
				 RESPONSE_BAD);
	}
}

static void expect_field(const struct taken *t, const char *name, const char *value)
{
	struct head_field f;
	bool found = head_find(t->head.data, t->head.bytes, name, &f);

	if (found != (value != NULL))
		fail_msg("%s: %d", name, found);
	if (value != NULL &&
	    (f.value_bytes != strlen(value) || memcmp(f.value, value, f.value_bytes) != 0))
		fail_msg("%s: %.*s", name, (int)f.value_bytes, f.value);
}

static void test_head(void **state)
{
	static const char text[] =
		OK "Server:  a b \t\r\nSet-Cookie: a=1\r\nKeep-Alive: x\r\nX-Empty:\r\n"
		   "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nx-far: 1\r\n"
		   "Connection: X-FAR,content-type, Set-Cookie\r\n"
		   "Content-Type: text/plain\r\nContent-Length: 3\r\n"
		   "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n";
	struct response_parser *a = response_parser_new(&target, &hint);
	struct taken t = {0};
	size_t left;

	(void)state;
	begin(a, RESPONSE_TO_REQUEST, &t);
	assert_int_equal(give(a, &t, text, sizeof text - 1, SIZE_MAX, &left), RESPONSE_COMPLETE);
	expect_field(&t, ":status", "200");
	expect_field(&t, ":origin", "http://localhost:3000/base");
	expect_field(&t, "server", "a b");
	expect_field(&t, "x-empty", "");
	expect_field(&t, "set-cookie", "a=1");
	expect_field(&t, "content-length", NULL); /* beside Transfer-Encoding it means nothing */
	expect_field(&t, "transfer-encoding", NULL);
	expect_field(&t, "connection", NULL);
	expect_field(&t, "keep-alive", NULL);
	expect_field(&t, "x-hop", NULL);
	expect_field(&t, "x-far", NULL);
	expect_field(&t, "content-type", "text/plain"); /* not between two machines only */
	expect_field(&t, "x-sum", NULL);
	fini(&t);
	response_parser_destroy(&a);
}

static void test_lengths_are_joined(void **state)
{
	static const char text[] =
		OK "Content-Length: 3\r\nX: 1\r\nContent-Length: 3, 3\r\n\r\nabc";
	struct response_parser *a = response_parser_new(&target, &hint);
	struct taken t = {0};
	struct head_reader r;
	struct head_field f;
	size_t left, lengths = 0;

	(void)state;
	begin(a, RESPONSE_TO_REQUEST, &t);
	assert_int_equal(give(a, &t, text, sizeof text - 1, SIZE_MAX, &left), RESPONSE_COMPLETE);
	head_reader_init(&r, t.head.data, t.head.bytes);
	while (head_next(&r, &f) == 1)
		lengths += field_is(&f, "content-length");
	assert_int_equal(lengths, 1);
	expect_field(&t, "content-length", "3");
	fini(&t);
	response_parser_destroy(&a);
}

static void test_continue(void **state)
{
	struct response_parser *a = response_parser_new(&target, &hint);
	struct taken t = {0};
	size_t used;

	(void)state;
	begin(a, RESPONSE_TO_REQUEST, &t);
	assert_int_equal(response_parser_feed(a, "HTTP/1.1 102 P\r\n\r\n", 18, &used),
			 RESPONSE_GOING);
	assert_false(response_parser_continues(a));
	assert_int_equal(response_parser_feed(a, "HTTP/1.1 100 C\r\n\r\n", 18, &used),
			 RESPONSE_GOING);
	assert_true(response_parser_continues(a));
	assert_int_equal(response_parser_status(a), 0);
	begin(a, RESPONSE_TO_REQUEST, &t);
	assert_false(response_parser_continues(a));
	fini(&t);
	response_parser_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_impossible),
		cmocka_unit_test(test_head_is_bounded),
		cmocka_unit_test(test_floods_are_bounded),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_lengths_are_joined),
		cmocka_unit_test(test_continue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
