/* Lines of a response: what http_parser must not read. Each row in one piece and byte by byte. */
#include "client/response_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static void start(struct response_guard *g, enum response_part part)
{
	*g = (struct response_guard){0};
	if (part == PART_HEAD)
		response_guard_start_head(g);
	else
		response_guard_enter(g, part);
}

static bool passes_by_bytes(struct response_guard *g, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (!response_guard_passes(g, text + i, 1))
			return false;
	}
	return true;
}

static void expect_bytes(enum response_part part, const char *text, size_t bytes, bool passes,
			 bool is_sloppy)
{
	struct response_guard whole, pieces;

	start(&whole, part);
	start(&pieces, part);
	if (response_guard_passes(&whole, text, bytes) != passes)
		fail_msg("\"%s\" %s", text, passes ? "was refused" : "passed");
	assert_int_equal(passes_by_bytes(&pieces, text, bytes), passes);
	if (passes && (whole.is_sloppy != is_sloppy || pieces.is_sloppy != is_sloppy))
		fail_msg("\"%s\": sloppy should be %d", text, is_sloppy);
}

struct row {
	const char *text;
	bool passes, is_sloppy;
};

static void expect_rows(enum response_part part, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_bytes(part, rows[i].text, strlen(rows[i].text), rows[i].passes,
			     rows[i].is_sloppy);
}

#define EXPECT_ROWS(part, rows) expect_rows(part, rows, sizeof(rows) / sizeof(rows)[0])

static void test_status_lines(void **state)
{
	static const struct row rows[] = {
		{"HTTP/1.1 200 OK\r\n", true, false},
		{"HTTP/1.0 599\r\n", true, false},
		{"HTTP/1.1  200 OK\r\n", true, true},
		{"HTTP/1.1 200 OK\n", true, true},
		{"\r\nHTTP/1.1 200 OK\r\n", true, true},
		{"\r\n\r\n\n\nHTTP/1.1 200\r\n", true, true},
		{"\r\n\r\n\r\n\r\n\r\nHTTP/1.1 200\r\n", false, false},
		{"\n\n\n\n\nHTTP/1.1 200\r\n", false, false},
		{"HTTP/2 200\r\n", false, false},
		{"http/1.1 200\r\n", false, false},
		{"ICY 200 OK\r\n", false, false},
		{" HTTP/1.1 200\r\n", false, false},
		{"HTTP/1.1 600\r\n", false, false},
		{"HTTP/1.1 099\r\n", false, false},
		{"HTTP/1.1 -20\r\n", false, false},
		{"HTTP/1.1   200\r\n", false, false},
		{"HTTP/1.1\t200\r\n", true, false}, /* http_parser refuses it */
		{"HTTP/1.1 200 O\rK\r\n", false, false},
		{"HTTP/1.1 200 O\x01K\r\n", false, false},
	};

	(void)state;
	EXPECT_ROWS(PART_HEAD, rows);
	expect_bytes(PART_HEAD, "HTTP/1.1 200 \0K\r\n", 17, false, false);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void test_field_lines(void **state)
{
	static const struct row rows[] = {
		{OK "A: b\r\n\r\n", true, false},    {OK "A: b\tc\r\n", true, false},
		{OK "A: \xff\r\n", true, false},     {OK "A: b\n\n", true, true},
		{OK "A: b\r\n c\r\n", false, false}, {OK "A: b\r\n\tc\r\n", false, false},
		{OK " A: b\r\n", false, false},	     {OK "A: b\rc\r\n", false, false},
		{OK "A: b\x7f\r\n", false, false},
	};

	(void)state;
	EXPECT_ROWS(PART_HEAD, rows);
	expect_bytes(PART_HEAD, OK "A: \0\r\n", sizeof OK - 1 + 6, false, false);
}

static void test_chunk_sizes(void **state)
{
	static const struct row rows[] = {
		{"1a\r\n", true, false},     {"1A;name=\"v\"\r\n", true, false},
		{"1 \r\n", true, false},     {"1  ;x\r\n", true, false},
		{"1 2\r\n", false, false},   {"1\x80\r\n", false, false},
		{"1;\x80\r\n", true, false}, {"1\n", false, false},
		{" 1\r\n", false, false},    {"1\rx", false, false},
	};

	(void)state;
	EXPECT_ROWS(PART_SIZE, rows);
}

static void test_behind_data_and_trailers(void **state)
{
	static const struct row ends[] = {
		{"\r\n", true, false},
		{"\n", false, false},
		{"x\r\n", false, false},
		{"\rx", false, false},
	};
	static const struct row trailers[] = {
		{"A: b\r\n\r\n", true, false},
		{"A: b\n", false, false},
		{" A: b\r\n", false, false},
		{"A: b\r\n c\r\n", false, false},
	};

	(void)state;
	EXPECT_ROWS(PART_DATA_END, ends);
	EXPECT_ROWS(PART_TRAILERS, trailers);
}

/* True: the guard takes `bytes` of these behind what it has read. */
static bool passes_many(struct response_guard *g, size_t bytes)
{
	char *text = malloc(bytes);

	assert_non_null(text);
	memset(text, 'x', bytes);
	bool passes = response_guard_passes(g, text, bytes);
	free(text);
	return passes;
}

static void test_bounds(void **state)
{
	struct response_guard g;

	(void)state;
	start(&g, PART_SIZE);
	assert_true(response_guard_passes(&g, "1;", 2));
	assert_true(passes_many(&g, 4094));
	assert_false(passes_many(&g, 1));
	start(&g, PART_TRAILERS);
	assert_true(passes_many(&g, 65536));
	assert_false(passes_many(&g, 1));
	/* the trailers of a response are bounded together, not line by line */
	start(&g, PART_TRAILERS);
	assert_true(passes_many(&g, 40000));
	assert_true(response_guard_passes(&g, "\r\n", 2));
	assert_false(passes_many(&g, 40000));
}

static void test_where_a_field_begins(void **state)
{
	struct response_guard g;

	(void)state;
	start(&g, PART_HEAD);
	assert_false(response_guard_begins_field(&g, 'H'));
	assert_true(response_guard_passes(&g, OK, sizeof OK - 1));
	assert_true(g.has_status);
	assert_true(response_guard_begins_field(&g, 'A'));
	assert_false(response_guard_begins_field(&g, '\r'));
	assert_false(response_guard_begins_field(&g, '\n'));
	assert_true(response_guard_passes(&g, "A", 1));
	assert_false(response_guard_begins_field(&g, ':'));
	assert_true(response_guard_passes(&g, ": b\r\n", 5));
	assert_true(response_guard_begins_field(&g, 'B'));
	response_guard_enter(&g, PART_TRAILERS);
	assert_false(response_guard_begins_field(&g, 'A'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_lines),
		cmocka_unit_test(test_field_lines),
		cmocka_unit_test(test_chunk_sizes),
		cmocka_unit_test(test_behind_data_and_trailers),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_where_a_field_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
