/* The line of a finished request, as text and as JSON, and what cannot forge one. */
#include "common/access_log.h"
#include "common/head.h"
#include "common/log.h"
#include "common/log_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

static char caught[8192];

/* Writes the line, and catches what it writes. */
static const char *put(const struct access_log_line *l)
{
	FILE *file = tmpfile();
	int real_stderr = dup(STDERR_FILENO);

	assert_non_null(file);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	access_log_put(l);
	assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
	close(real_stderr);
	rewind(file);
	caught[fread(caught, 1, sizeof caught - 1, file)] = '\0';
	fclose(file);
	return caught;
}

static struct access_log_request *request(const char *method, const char *target)
{
	return access_log_request(method, strlen(method), target, strlen(target));
}

static void test_lines(void **state)
{
	struct access_log_request *get = request("GET", "/x?secret=1"),
				  *put_it = request("PUT", "/y#secret?x");
	const struct access_log_line good = {
		.conn = "my-app",
		.corr = "0123456789abcdef0123456789abcdef",
		.request = get,
		.status = 200,
		.delivered = "maybe",
		.up_bytes = 1,
		.down_bytes = 5000000000,
		.numbers = {{"queued_ms", 0}, {"head_ms", -1}, {"ms", 12}},
	};
	const struct access_log_line bad = {
		.request = put_it,
		.status = 503,
		.fail = FAIL_TUNNEL_UNKNOWN,
		.delivered = "no",
		.numbers = {{"ms", 1}},
	};

	(void)state;
	assert_string_equal(
		put(&good),
		"info request.done conn=my-app corr=0123456789abcdef0123456789abcdef "
		"method=\"GET\" path=\"/x\" status=200 up_bytes=1 down_bytes=5000000000 "
		"queued_ms=0 ms=12\n");
	assert_string_equal(put(&bad), "info request.done conn=- corr=- method=\"PUT\" path=\"/y\" "
				       "status=503 code=tunnel-unknown delivered=no up_bytes=0 "
				       "down_bytes=0 ms=1\n");
	free(get);
	free(put_it);
}

static void test_quiet(void **state)
{
	struct access_log_request *get = request("GET", "/");
	struct access_log_line l = {.conn = "a", .request = get};

	(void)state;
	assert_true(log_mode_from_text("quiet"));
	assert_null(request("GET", "/"));
	assert_null(access_log_request_of("", 0));
	assert_string_equal(put(&l), "");
	l.request = NULL;
	assert_true(log_mode_from_text("text"));
	assert_string_equal(put(&l), "");
	assert_false(log_mode_from_text(""));
	assert_false(log_mode_from_text("Text"));
	assert_int_equal(log_mode, LOG_TEXT);
	free(get);
}

/* Whatever a method and a path hold, they stand in their quotes, in printable characters. */
static void test_bytes_of_a_peer(void **state)
{
	static const char evil[] = "a\" status=1\nerror x \\\x7f\xff\0b";
	char long_path[5000];
	struct access_log_line l = {.corr = "c"};
	struct access_log_request *r =
		access_log_request(evil, sizeof evil - 1, evil, sizeof evil - 1);

	(void)state;
	l.request = r;
	assert_string_equal(put(&l), "info request.done conn=- corr=c "
				     "method=\"a\\\" status=1\\x0aerror x \\\\\\x7f\\xff\\x00b\" "
				     "path=\"a\\\" status=1\\x0aerror x \\\\\\x7f\\xff\\x00b\" "
				     "status=0 up_bytes=0 down_bytes=0\n");
	free(r);
	memset(long_path, '\n', sizeof long_path);
	l.request = r =
		access_log_request(long_path, sizeof long_path, long_path, sizeof long_path);
	assert_true(strlen(put(&l)) < 2048);
	assert_non_null(strstr(caught, "\\x0a...\" path=\"\\x0a"));
	assert_non_null(strstr(caught, "\\x0a...\" status=0"));
	free(r);
	l.request = r = access_log_request_of("\0\1broken", 8);
	assert_non_null(strstr(put(&l), "method=\"\" path=\"\""));
	free(r);
}

/* A flood of requests that anybody can cause leaves few lines; one of an operator's own tunnel
 * its share. */
static void test_limits(void **state)
{
	struct access_log_request *get = request("GET", "/");
	struct access_log_line l = {.conn = "flood", .request = get, .fail = FAIL_NOT_FOUND};
	int nobody = 0, own = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		nobody += *put(&l) != '\0';
	l.fail = FAIL_NONE;
	for (int i = 0; i < 1000; i++)
		own += *put(&l) != '\0';
	assert_in_range(nobody, LOG_BURST, 500);
	assert_int_equal(own, 1000);
	free(get);
}

static json_t *parse(const char *text, uint64_t suppressed)
{
	char out[8192];
	size_t bytes = log_json_write(out, sizeof out, "info", text, suppressed);
	json_t *object = json_loadb(out, bytes, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(object);
	assert_null(memchr(out, '\n', bytes));
	return object;
}

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void test_json(void **state)
{
	json_t *o =
		parse("a.b conn=12 corr=34 n=-5 z=007 q=\"6\" path=\"/\\\"a b\\\\\" e= cut=\"x", 3);

	(void)state;
	assert_string_equal(string_of(o, "event"), "a.b");
	assert_string_equal(string_of(o, "level"), "info");
	assert_string_equal(string_of(o, "conn"), "12");
	assert_string_equal(string_of(o, "corr"), "34");
	assert_int_equal(json_integer_value(json_object_get(o, "n")), -5);
	assert_string_equal(string_of(o, "z"), "007");
	assert_string_equal(string_of(o, "q"), "6");
	assert_string_equal(string_of(o, "path"), "/\\\"a b\\\\");
	assert_string_equal(string_of(o, "e"), "");
	assert_string_equal(string_of(o, "cut"), "x");
	assert_int_equal(json_integer_value(json_object_get(o, "suppressed")), 3);
	json_decref(o);
	o = parse("log.suppressed event=x.y some words; level=9", 0);
	assert_string_equal(string_of(o, "event"), "log.suppressed");
	assert_string_equal(string_of(o, "event_"), "x.y");
	assert_string_equal(string_of(o, "text"), "some words;");
	assert_int_equal(json_integer_value(json_object_get(o, "level_")), 9);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_bytes_of_a_peer),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
