/* The head of an app's response: where the body ends, whether the connection may be kept, and what
 * goes to the responder. */
#include "client/response_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

/* "Name: value\n" for each field. The caller ends it with head_fini(). */
static struct head fields_of(const char *text)
{
	struct head h = {0};

	while (*text != '\0') {
		size_t bytes = strcspn(text, "\n");
		const char *colon = memchr(text, ':', bytes);
		assert_non_null(colon);
		const char *value = colon + 1 + (colon[1] == ' ');
		head_add_bytes(&h, text, (size_t)(colon - text), value,
			       bytes - (size_t)(value - text));
		text += bytes + (text[bytes] == '\n');
	}
	return h;
}

static const struct {
	int status;
	const char *fields;
	bool is_to_head;
	enum response_framing framing;
	uint64_t body_bytes;
	bool keeps_open;
} framings[] = {
	{200, "Content-Length: 5", false, FRAMING_LENGTH, 5, true},
	{200, "content-length: 5\nContent-Length: 5", false, FRAMING_LENGTH, 5, true},
	{200, "Content-Length: 5, 5", false, FRAMING_LENGTH, 5, true},
	{200, "Content-Length: 0", false, FRAMING_LENGTH, 0, true},
	{200, "Transfer-Encoding: Chunked", false, FRAMING_CHUNKED, 0, true},
	{200, "Transfer-Encoding: chunked\nContent-Length: 5", false, FRAMING_CHUNKED, 0, false},
	{200, "", false, FRAMING_UNTIL_END, 0, false},
	{200, "Connection: keep-alive", false, FRAMING_UNTIL_END, 0, false},
	{200, "Content-Length: 5", true, FRAMING_NONE, 0, false},
	{200, "Transfer-Encoding: chunked", true, FRAMING_NONE, 0, false},
	{204, "Content-Length: 0", false, FRAMING_NONE, 0, false},
	{304, "Content-Length: 99", false, FRAMING_NONE, 0, false},
	{205, "Content-Length: 0", false, FRAMING_LENGTH, 0, true},
};

static void test_framing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof framings / sizeof framings[0]; i++) {
		struct head fields = fields_of(framings[i].fields);
		struct response_head h;
		if (!response_head_read(&h, framings[i].status, &fields, framings[i].is_to_head))
			fail_msg("%s was refused", framings[i].fields);
		assert_int_equal(h.status, framings[i].status);
		if (h.framing != framings[i].framing || h.keeps_open != framings[i].keeps_open)
			fail_msg("%d \"%s\": framing %d, keeps open %d", framings[i].status,
				 framings[i].fields, h.framing, h.keeps_open);
		if (h.framing == FRAMING_LENGTH)
			assert_int_equal(h.body_bytes, framings[i].body_bytes);
		head_fini(&fields);
	}
}

static void test_ambiguous_framing(void **state)
{
	static const char *const rows[] = {
		"Content-Length: 5\nContent-Length: 6",
		"Content-Length: 5, 6",
		"Content-Length: -5",
		"Content-Length: +5",
		"Content-Length: 0x5",
		"Content-Length:",
		"Content-Length: 5,",
		"Content-Length: 99999999999999999999",
		"Transfer-Encoding: gzip",
		"Transfer-Encoding: gzip, chunked",
		"Transfer-Encoding: chunked, chunked",
		"Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
		"Transfer-Encoding: identity",
		"Transfer-Encoding:",
		"Transfer-Encoding: chunked\nContent-Length: x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct head fields = fields_of(rows[i]);
		struct response_head h;
		if (response_head_read(&h, 200, &fields, false))
			fail_msg("\"%s\" was accepted", rows[i]);
		head_fini(&fields);
	}
}

/* Beside a length of 1. */
static void test_what_keeps_a_connection(void **state)
{
	static const struct {
		const char *field;
		bool keeps_open;
	} rows[] = {
		{"Connection: keep-alive", true},
		{"Connection: Close", false},
		{"Connection: x, close", false},
		{"Connection: closed", true},
		{"Proxy-Connection: close", false},
		{"Keep-Alive: timeout=5, max=100", true},
		{"Keep-Alive: timeout=2", true},
		{"Keep-Alive: timeout=1", false},
		{"Keep-Alive: Timeout=0", false},
		{"Keep-Alive: max=0", false},
		{"Keep-Alive: max", true},
		{"Keep-Alive: timeout=x", true},
		{"WWW-Authenticate: Basic realm=\"x\"", true},
		{"WWW-Authenticate: NTLM", false},
		{"WWW-Authenticate: Basic realm=x, Negotiate abc", false},
		{"Proxy-Authenticate: negotiate", false},
		{"Persistent-Auth: true", false},
		{"X-Any: close", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct head fields = fields_of(rows[i].field);
		struct response_head h;
		head_add(&fields, "Content-Length", "1");
		assert_true(response_head_read(&h, 200, &fields, false));
		if (h.keeps_open != rows[i].keeps_open)
			fail_msg("%s", rows[i].field);
		head_fini(&fields);
	}
}

static void test_switching(void **state)
{
	static const struct {
		const char *fields;
		bool switches;
	} rows[] = {
		{"Connection: Upgrade\nUpgrade: websocket", true},
		{"Upgrade: WebSocket\nConnection: keep-alive, upgrade", true},
		{"Connection: Upgrade", false},
		{"Upgrade: websocket", false},
		{"Connection: Upgrade\nUpgrade: h2c", false},
		{"Connection: Upgrade\nUpgrade: websocket, h2c", false},
		{"Connection: Upgrades\nUpgrade: websocket", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct head fields = fields_of(rows[i].fields);
		if (response_head_switches(&fields) != rows[i].switches)
			fail_msg("\"%s\"", rows[i].fields);
		head_fini(&fields);
	}
}

static const struct target app = {.url = "http://localhost:3000/base"};
static const struct target named = {
	.url = "http://localhost:3000", .host_header = HOST_NAME, .host_name = "other.example"};

static const struct {
	const struct target *target;
	struct response_head head;
	const char *fields, *written;
} heads[] = {
	{&app,
	 {.status = 200, .framing = FRAMING_LENGTH},
	 "A: 1\nSet-Cookie: x\nset-cookie: y\nContent-Length: 3, 3\nContent-Length: 3\nB:",
	 ":status: 200\n:origin: http://localhost:3000/base\nA: 1\nSet-Cookie: x\n"
	 "set-cookie: y\nContent-Length: 3\nB: \n"},
	{&app,
	 {.status = 200, .framing = FRAMING_CHUNKED},
	 "Transfer-Encoding: chunked\nContent-Length: 3\nKeep-Alive: x\nTrailer: A\nA: 1",
	 ":status: 200\n:origin: http://localhost:3000/base\nA: 1\n"},
	{&app,
	 {.status = 200, .framing = FRAMING_LENGTH},
	 "Connection: close, A, content-length\nA: 1\nContent-Length: 3\nB: 2",
	 ":status: 200\n:origin: http://localhost:3000/base\nContent-Length: 3\nB: 2\n"},
	{&app,
	 {.status = 101},
	 "Sec-WebSocket-Accept: x\nContent-Length: 3\nUpgrade: websocket",
	 ":status: 101\n:origin: http://localhost:3000/base\nSec-WebSocket-Accept: x\n"},
	{&named,
	 {.status = 404},
	 "",
	 ":status: 404\n:origin: http://localhost:3000\n:host: other.example\n"},
	{NULL, {.status = 403}, "A: 1", ":status: 403\nA: 1\n"},
};

static void test_writing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		struct head fields = fields_of(heads[i].fields), out = {0};
		struct head_reader r;
		struct head_field f;
		char text[1024] = "";
		assert_true(response_head_write(&heads[i].head, heads[i].target, &fields, &out));
		head_reader_init(&r, out.data, out.bytes);
		while (head_next(&r, &f) == 1)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s: %.*s\n",
				 (int)f.name_bytes, f.name, (int)f.value_bytes, f.value);
		assert_string_equal(text, heads[i].written);
		head_fini(&fields);
		head_fini(&out);
	}
}

static void test_too_many_connection_names(void **state)
{
	const struct response_head h = {.status = 200};
	struct head fields = {0}, out = {0};

	(void)state;
	for (int i = 0; i < 100; i++) {
		char name[16];
		snprintf(name, sizeof name, "x-%d", i);
		head_add(&fields, "Connection", name);
	}
	assert_false(response_head_write(&h, &app, &fields, &out));
	head_fini(&fields);
	head_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_framing),
		cmocka_unit_test(test_ambiguous_framing),
		cmocka_unit_test(test_what_keeps_a_connection),
		cmocka_unit_test(test_switching),
		cmocka_unit_test(test_writing),
		cmocka_unit_test(test_too_many_connection_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
