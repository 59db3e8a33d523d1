/* The command line of the client: URLs, the app's address, the token. */
#include "client/settings.h"
#include "client/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static void test_urls(void **state)
{
	static const struct {
		const char *text, *scheme, *host, *authority, *path;
		uint16_t port;
	} rows[] = {
		{"http://localhost:3000/base?x=1", "http", "localhost", "localhost:3000",
		 "/base?x=1", 3000},
		{"HTTPS://Example.org", "https", "Example.org", "Example.org", "/", 0},
		{"ws://[::1]:8000/t/", "ws", "::1", "[::1]:8000", "/t/", 8000},
		{"ws://h?token=abc", "ws", "h", "h", "/?token=abc", 0},
	};
	static const char *const bad[] = {
		"",
		"/",
		"h",
		"h:80",
		"http:",
		"http://",
		"http:///x",
		"://h",
		"http://h:0x50/",
		"http://h:65536/",
		"http://h:0/",
		"http://h:00",
		"http://h/x#fragment",
		"http://h/#",
		"http://h#x",
		"ws://h?token=a#x",
		"http://user@h/",
		"http://user:pw@h/",
		"http://@h/",
		"http://[::1/",
		"http://a b/",
		"http://h\r\n/",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct url u;
		if (!url_split(&u, rows[i].text))
			fail_msg("%s was refused", rows[i].text);
		assert_string_equal(u.scheme, rows[i].scheme);
		assert_string_equal(u.host, rows[i].host);
		assert_string_equal(u.authority, rows[i].authority);
		assert_string_equal(u.path, rows[i].path);
		assert_int_equal(u.port, rows[i].port);
		url_fini(&u);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct url u;
		if (url_split(&u, bad[i]))
			fail_msg("\"%s\" was taken", bad[i]);
		url_fini(&u);
	}
}

static void test_long_url(void **state)
{
	char *text = xcalloc(1, 33 * 1024);
	struct url u;

	(void)state;
	memset(text, 'x', 33 * 1024 - 1);
	memcpy(text, "http://h/", 9);
	assert_false(url_split(&u, text));
	url_fini(&u);
	text[32 * 1024] = '\0';
	assert_true(url_split(&u, text));
	assert_int_equal(strlen(u.path), 32 * 1024 - 8);
	url_fini(&u);
	free(text);
}

static const struct {
	const char *text, *origin, *authority, *base, *url, *unix_path;
} targets[] = {
	{"3000", "http://localhost:3000", "localhost:3000", "", "http://localhost:3000", NULL},
	{"http://h:81", "http://h:81", "h:81", "", "http://h:81", NULL},
	{"https://h/base//", "https://h", "h", "/base", "https://h/base", NULL},
	{"http://[::1]:3000/a/b", "http://[::1]:3000", "[::1]:3000", "/a/b",
	 "http://[::1]:3000/a/b", NULL},
	{"unix:/run/app.sock", "http://localhost", "localhost", "", "http://localhost",
	 "/run/app.sock"},
	{"localhost:3000", "http://localhost:3000", "localhost:3000", "", "http://localhost:3000",
	 NULL},
	{":3000", "http://localhost:3000", "localhost:3000", "", "http://localhost:3000", NULL},
	{":3000/base/", "http://localhost:3000", "localhost:3000", "/base",
	 "http://localhost:3000/base", NULL},
	{"127.0.0.1:3000", "http://127.0.0.1:3000", "127.0.0.1:3000", "", "http://127.0.0.1:3000",
	 NULL},
	{"http://h/..a/b..", "http://h", "h", "/..a/b..", "http://h/..a/b..", NULL},
	{"[::1]:3000", "http://[::1]:3000", "[::1]:3000", "", "http://[::1]:3000", NULL},
};

static const char *const bad_targets[] = {
	"",
	"0",
	"65536",
	"-1",
	"3000x",
	"ws://h",
	"ftp://h",
	"http://h/?q",
	"http://h/a b",
	"http://h:0",
	"http://h/#x",
	"http://h/..",
	"http://h/a/../b",
	"http://h/a/%2E%2e/",
	"http://h/a/..%2fb",
	":80/..",
	"h:80/a/..;x",
	"unix:",
	"unix:rel",
	"localhost",
	":",
	":0",
	":x",
	":65536",
	"h:80?q",
	"a@h:80",
	"localhost:3000x",
	"eyJhbGciOi.eyJzdWIi.x:80",
};

static void test_targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
		struct target t;
		if (!target_read(&t, targets[i].text))
			fail_msg("%s was refused", targets[i].text);
		assert_string_equal(t.origin, targets[i].origin);
		assert_string_equal(t.authority, targets[i].authority);
		assert_string_equal(t.base, targets[i].base);
		assert_string_equal(t.url, targets[i].url);
		if (targets[i].unix_path != NULL)
			assert_string_equal(t.unix_path, targets[i].unix_path);
		else
			assert_null(t.unix_path);
		target_fini(&t);
	}
	for (size_t i = 0; i < sizeof bad_targets / sizeof bad_targets[0]; i++) {
		struct target t;
		if (target_read(&t, bad_targets[i]))
			fail_msg("\"%s\" was taken", bad_targets[i]);
		target_fini(&t);
	}
}

/* What settings_read() says, with this server, token and --host-header. */
static int read_settings(struct settings *s, const char *server, const char *token,
			 const char *host)
{
	const struct arguments a = {
		.target = "3000", .server = server, .token = token, .host_header = host};

	if (token != NULL)
		setenv("PIPEGATE_TOKEN", token, 1);
	else
		unsetenv("PIPEGATE_TOKEN");
	return settings_read(s, &a);
}

static void expect_settings(int result, const char *server, const char *token, const char *host)
{
	struct settings s;
	int got = read_settings(&s, server, token, host);

	if (got != result)
		fail_msg("%s with token %s: %d", server, token ? token : "none", got);
	settings_fini(&s);
}

static void test_settings(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(read_settings(&s, "wss://h/t/?a=1&token=secret", NULL, NULL), 0);
	assert_true(s.server.tls);
	assert_int_equal(s.server.port, 443);
	assert_string_equal(s.server.shown, "wss://h/t/"); /* what is logged holds no token */
	assert_null(s.server.token);
	settings_fini(&s);

	assert_int_equal(read_settings(&s, "ws://h", "abc", "target"), 0);
	assert_int_equal(s.server.port, 80);
	assert_string_equal(s.server.token, "abc");
	assert_int_equal(s.target.host_header, HOST_TARGET);
	settings_fini(&s);

	expect_settings(EXIT_USAGE, "ftp://h/", "abc", NULL);
	expect_settings(EXIT_USAGE, "3000", "abc", NULL);
	expect_settings(EXIT_USAGE, "", "abc", NULL);
	expect_settings(EXIT_USAGE, "/x", "abc", NULL);
	expect_settings(EXIT_USAGE, "eyJhbGciOi.eyJzdWIi.x", "abc", NULL);
	expect_settings(EXIT_USAGE, "ws://h/a b", "abc", NULL);
	expect_settings(EXIT_USAGE, "ws://h:0/", "abc", NULL);
	expect_settings(EXIT_USAGE, "h:0", "abc", NULL);
	expect_settings(EXIT_USAGE, "ws://h/t/#x", "abc", NULL);
	expect_settings(EXIT_USAGE, "ws://h/", "abc", "a b");
	expect_settings(EXIT_USAGE, "ws://h/", "abc", "");
	expect_settings(EXIT_CONFIG, "ws://h/", NULL, NULL);
	expect_settings(EXIT_CONFIG, "ws://h/?token=", NULL, NULL);
	expect_settings(EXIT_CONFIG, "ws://h/?%74oken=", NULL, NULL);
	expect_settings(EXIT_CONFIG, "ws://h/?%74%6f%6b%65%6e%6e=abc", NULL, NULL);
	expect_settings(EXIT_CONFIG, "ws://h/?xtoken=abc", NULL, NULL);
	expect_settings(EXIT_CONFIG, "ws://h/", "a b", NULL);
	expect_settings(EXIT_CONFIG, "ws://h/", "abc\r\nx: y", NULL);
}

static void test_servers(void **state)
{
	static const struct {
		const char *text, *shown;
		uint16_t port;
		bool tls, loopback;
	} rows[] = {
		{"https://h/t/", "wss://h/t/", 443, true, false},
		{"HTTP://h:8080", "ws://h:8080/", 8080, false, false},
		{"h", "wss://h/", 443, true, false},
		{"example.org:8443/t/", "wss://example.org:8443/t/", 8443, true, false},
		{"localhost:3000", "wss://localhost:3000/", 3000, true, true},
		{"ws://127.9.9.9/", "ws://127.9.9.9/", 80, false, true},
		{"ws://[::1]/", "ws://[::1]/", 80, false, true},
		{"ws://a.LOCALHOST/", "ws://a.LOCALHOST/", 80, false, true},
		{"ws://127.1/", "ws://127.1/", 80, false, true},
		{"ws://2130706433/", "ws://2130706433/", 80, false, true},
		{"ws://0x7f000001/", "ws://0x7f000001/", 80, false, true},
		{"ws://0X7F.1/", "ws://0X7F.1/", 80, false, true},
		{"ws://017700000001/", "ws://017700000001/", 80, false, true},
		{"ws://127.0.0.1./", "ws://127.0.0.1./", 80, false, true},
		{"ws://localhost./", "ws://localhost./", 80, false, true},
		{"ws://[::ffff:127.0.0.1]/", "ws://[::ffff:127.0.0.1]/", 80, false, true},
		{"ws://[::FFFF:7f00:2]/", "ws://[::FFFF:7f00:2]/", 80, false, true},
		{"ws://[0:0:0:0:0:0:0:1]/", "ws://[0:0:0:0:0:0:0:1]/", 80, false, true},
		{"ws://0.0.0.0/", "ws://0.0.0.0/", 80, false, true},
		{"ws://0/", "ws://0/", 80, false, true},
		{"ws://[::]/", "ws://[::]/", 80, false, true},
		{"ws://[::ffff:0:0]/", "ws://[::ffff:0:0]/", 80, false, true},
		{"ws://IP6-localhost/", "ws://IP6-localhost/", 80, false, true},
		{"ws://128.0.0.1/", "ws://128.0.0.1/", 80, false, false},
		{"ws://128.1/", "ws://128.1/", 80, false, false},
		{"ws://2130706432.example/", "ws://2130706432.example/", 80, false, false},
		{"ws://[::ffff:126.0.0.1]/", "ws://[::ffff:126.0.0.1]/", 80, false, false},
		{"ws://[::2]/", "ws://[::2]/", 80, false, false},
		{"ws://127.0.0.1.example/", "ws://127.0.0.1.example/", 80, false, false},
		{"ws://notlocalhost/", "ws://notlocalhost/", 80, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings s;
		if (read_settings(&s, rows[i].text, "abc", NULL) != 0)
			fail_msg("%s was refused", rows[i].text);
		assert_string_equal(s.server.shown, rows[i].shown);
		assert_int_equal(s.server.port, rows[i].port);
		assert_int_equal(s.server.tls, rows[i].tls);
		if (s.server.is_loopback != rows[i].loopback)
			fail_msg("%s", rows[i].text);
		settings_fini(&s);
	}
}

/* {"alg":"HS256"}, then {"sub":"my-app"} or {"sub":"a/b"} */
#define TOKEN	  "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJteS1hcHAifQ.c2ln"
#define ODD_TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhL2IifQ.c2ln"

/* A tunnel's public URL in place of the server's. */
static void test_public_url(void **state)
{
	static const struct {
		const char *text, *path, *token;
	} rows[] = {
		{"https://h/my-app/", "/", TOKEN},
		{"https://h/my-app", "/", TOKEN},
		{"https://h/t/my-app///", "/t/", TOKEN},
		{"https://h/t/my-app/?a=1", "/t/?a=1", TOKEN},
		{"ws://h/t/my-app?token=" TOKEN, "/t/?token=" TOKEN, NULL},
		{"ws://h/t/my-app?a&%74oke%6E=" TOKEN, "/t/?a&%74oke%6E=" TOKEN, NULL},
		{"ws://h/t/my-app?%74%6f%6b%65%6e=" TOKEN, "/t/?%74%6f%6b%65%6e=" TOKEN, NULL},
		{"ws://h/t/my-app/?x=y&token=" TOKEN "&z", "/t/?x=y&token=" TOKEN "&z", NULL},
		{"https://h/my-app/x", NULL, TOKEN},
		{"https://h/xmy-app/", NULL, TOKEN},
		{"https://h/MY-APP/", NULL, TOKEN},
		{"https://h/", NULL, TOKEN},
		{"https://h/a/b", NULL, ODD_TOKEN},
		{"https://h/my-app/", NULL, "abc"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings s;
		assert_int_equal(read_settings(&s, rows[i].text, rows[i].token, NULL), 0);
		if (s.server.id_removed != (rows[i].path != NULL))
			fail_msg("%s", rows[i].text);
		if (rows[i].path != NULL) {
			assert_string_equal(s.server.url.path, rows[i].path);
			assert_null(strstr(s.server.shown, "my-app"));
		}
		settings_fini(&s);
	}
}

/* A token for several ids: the path that names the one asked for is removed, and the query names
 * it. */
static void test_connection_id(void **state)
{
	static const struct {
		const char *server, *path;
		bool id_removed;
	} rows[] = {
		{"wss://h", "/?id=team-1", false},
		{"wss://h/tunnels/", "/tunnels/?id=team-1", false},
		{"wss://h/tunnels/team-1", "/tunnels/?id=team-1", true},
		{"wss://h/tunnels/team-1/", "/tunnels/?id=team-1", true},
		{"wss://h/?a=b", "/?a=b&id=team-1", false},
		{"wss://h/my-app", "/my-app?id=team-1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct arguments a = {.target = "3000",
					    .server = rows[i].server,
					    .token = TOKEN,
					    .connection_id = "team-1"};
		struct settings s;
		assert_int_equal(settings_read(&s, &a), 0);
		assert_string_equal(s.server.url.path, rows[i].path);
		assert_string_equal(s.server.connection_id, "team-1");
		assert_int_equal(s.server.id_removed, rows[i].id_removed);
		settings_fini(&s);
	}
}

static void test_keep_alive(void **state)
{
	static const struct {
		const char *text;
		int result;
		bool keep_alive;
	} rows[] = {
		{NULL, 0, true},
		{"on", 0, true},
		{"off", 0, false},
		{"", EXIT_USAGE, false},
		{"yes", EXIT_USAGE, false},
		{"ON", EXIT_USAGE, false},
	};

	(void)state;
	setenv("PIPEGATE_TOKEN", "abc", 1);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct arguments a = {.target = "3000",
					    .server = "ws://h",
					    .token = "abc",
					    .keep_alive = rows[i].text};
		struct settings s;
		assert_int_equal(settings_read(&s, &a), rows[i].result);
		assert_int_equal(s.target.keep_alive, rows[i].keep_alive);
		settings_fini(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),	      cmocka_unit_test(test_long_url),
		cmocka_unit_test(test_targets),	      cmocka_unit_test(test_settings),
		cmocka_unit_test(test_connection_id), cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_servers),	      cmocka_unit_test(test_public_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
