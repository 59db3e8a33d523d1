/* Origins of URLs: their spellings, and what is this machine. */
#include "common/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static struct place read_url(const char *url)
{
	struct place p;

	assert_true(place_read(&p, url, strlen(url)));
	return p;
}

static void test_same_origin(void **state)
{
	static const struct {
		const char *url, *origin;
		bool same;
	} rows[] = {
		{"http://a.example/x", "http://a.example", true},
		{"HTTP://A.Example:80/x", "http://a.example", true},
		{"//a.example", "https://a.example", true},
		{"https://a.example", "http://a.example", true},
		{"https://a.example:80", "http://a.example", true},
		{"http://a.example.:80", "http://a.example", true},
		{"http://a.example:81", "http://a.example", false},
		{"http://b.a.example", "http://a.example", false},
		{"http://localhost:3000", "http://127.0.0.1:3000", true},
		{"http://[::1]:3000", "http://0.0.0.0:3000", true},
		{"http://127.0.0.2:3000", "http://127.0.0.1:3000", false},
		{"http://2130706433:3000", "http://127.0.0.1:3000", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct place url = read_url(rows[i].url), origin = read_url(rows[i].origin);
		assert_int_equal(place_is_at(&url, &origin), rows[i].same);
	}
	struct place url = read_url("http://a.example"), none = {0};
	assert_false(place_is_at(&url, &none));
}

static void test_refused(void **state)
{
	static const char *const urls[] = {"",		 "/path",      "ftp://a",   "http://",
					   "http://u@a", "http://a:b", "http:///x", "mailto:x"};
	struct place p;

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
		assert_false(place_read(&p, urls[i], strlen(urls[i])));
}

static void test_machine(void **state)
{
	static const struct {
		const char *host;
		bool loopback, this_machine;
	} rows[] = {
		{"localhost", true, true},
		{"127.9.9.9", true, true},
		{"[::1]", true, true},
		{"[::ffff:127.0.0.1]", true, true},
		{"0.0.0.0", false, true},
		{"[::]", false, true},
		{"a.localhost", false, true},
		{"ip6-localhost", false, true},
		{"127.example.org", false, false},
		{"192.0.2.1", false, false},
		{"notlocalhost", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct place p;
		assert_true(place_read_host(&p, SCHEME_HTTP, rows[i].host, strlen(rows[i].host)));
		assert_int_equal(place_is_loopback(&p), rows[i].loopback);
		assert_int_equal(place_is_this_machine(&p), rows[i].this_machine);
	}
}

static void test_paths(void **state)
{
	(void)state;
	assert_true(place_is_below("/a", 2, "/a", 2));
	assert_true(place_is_below("/a/b", 4, "/a", 2));
	assert_true(place_is_below("/a?q", 4, "/a", 2));
	assert_false(place_is_below("/ab", 3, "/a", 2));
	assert_true(place_is_path("/", 1));
	assert_true(place_is_path("/a", 2));
	assert_false(place_is_path("//a", 3));
	assert_false(place_is_path("/\\a", 3));
	assert_false(place_is_path("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_origin),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
