/* Messages about an invalid command line: they never show the token that may be in it. */
#include "common/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

#define JWT  "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln_-bmF0dXJl"
#define HALF "0123456789abcdef0123456789abcdef01234567"
#define LONG HALF HALF "8" /* 81 */

static int set_up(void **state)
{
	(void)state;
	unsetenv("PIPEGATE_TOKEN");
	unsetenv("PIPEGATE_JWT_SECRET");
	return 0;
}

static void expect_shown(const char *value, const char *shown)
{
	char out[256];

	cli_show(out, sizeof out, value);
	if (strcmp(out, shown) != 0)
		fail_msg("%s is shown as %s", value, out);
}

static void test_values(void **state)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"nonsense", "nonsense"},
		{"a \"b\" \\\n", "a \\\"b\\\" \\\\\\x0a"},
		{"[\"HS256\"]", "[\\\"HS256\\\"]"},
		{"99999999999999999999", "99999999999999999999"},
		{"/etc/pipegate/token", "/etc/pipegate/token"},
		{"ipc:///run/pipegate/gate.sock", "ipc:///run/pipegate/gate.sock"},
		{"tcp://*:5000", "tcp://*:5000"},
		{"http://my.own-host.example.org:3000/base",
		 "http://my.own-host.example.org:3000/base"},
		{"ftp://[::1]:3000", "ftp://[::1]:3000"},
		/* a query, a fragment, a user */
		{"ws://h/?token=T", "ws://h/?..."},
		{"ws://h/#token=T", "ws://h/#..."},
		{"h?T", "h?..."},
		{"ws://T@h/", "ws://...@h/"},
		{"ws://u:T@h:1/x@y", "ws://...@h:1/x@y"},
		{"u:T@h", "...@h"},
		{"ws://T@u@h/?T", "ws://...@h/?..."},
		{"h?T://x@y", "h?..."},
		{JWT "://x@y", "...://...@y"},
		{"ws://h/token=T", "ws://h/token=..."},
		{"Token=T&x", "Token=...&x"},
		/* words that look like a token */
		{JWT, "..."},
		{"eyJhbGciOiJIUzI1NiJ9", "..."},
		{"http://h/" JWT "/x", "http://h/.../x"},
		{"unix:" JWT, "unix:..."},
		{"Bearer " JWT, "Bearer ..."},
		{LONG, "..."},
		{"/home/me/" LONG "/x", "/home/me/.../x"},
		{"/0123456789abcdef0123456789abcdef01234567",
		 "/0123456789abcdef0123456789abcdef01234567"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		expect_shown(rows[i][0], rows[i][1]);
}

static void test_secrets_that_we_know(void **state)
{
	(void)state;
	setenv("PIPEGATE_TOKEN", "tok!", 1);
	setenv("PIPEGATE_JWT_SECRET", "s e c", 1);
	expect_shown("tok!", "...");
	expect_shown("/x/tok!/y", "...");
	expect_shown("as e cb", "...");
	expect_shown("tok", "tok");
	setenv("PIPEGATE_TOKEN", "", 1);
	expect_shown("tok!", "tok!");
}

static void test_cut(void **state)
{
	char out[16];

	(void)state;
	assert_string_equal(cli_show(out, sizeof out, "/0123456789/abc"), "/0123456789/...");
	assert_string_equal(cli_show(out, sizeof out, "/0123456/" JWT), "/0123456/...");
}

/* A host that only begins like a loopback address is not one. */
static void test_gates(void **state)
{
	static const char *const good[] = {
		"ipc:///run/gate",	"tcp://127.0.0.1:5000",
		"tcp://127.1.2.3:5000", "tcp://127.1:5000",
		"tcp://[::1]:5000",	"tcp://localhost:5000",
		"tcp://LOCALHOST:5000", "tcp://[::ffff:127.0.0.1]:5000",
	};
	static const char *const bad[] = {
		"ipc://run/gate",
		"127.0.0.1:5000",
		"tcp://127.example.org:5000",
		"tcp://127.0.0.1.example:5000",
		"tcp://127.0.0.1:0;example.org:5000",
		"tcp://localhost:x;example.org:5000",
		"tcp://0.0.0.0:5000",
		"tcp://0:5000",
		"tcp://[::]:5000",
		"tcp://*:5000",
		"tcp://a.localhost:5000",
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (cli_gate_fault(good[i]) != NULL)
			fail_msg("%s was refused", good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (cli_gate_fault(bad[i]) == NULL)
			fail_msg("%s was taken", bad[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values),
		TEST(test_secrets_that_we_know),
		TEST(test_cut),
		TEST(test_gates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
