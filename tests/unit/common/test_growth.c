/* What a peer sizes costs no more than its size: four times as much of the worst that can be
 * said takes about four times as long, and not sixteen times. */
#include "common/local_reply.h"
#include "common/destination.h"
#include "common/http.h"
#include "common/query.h"
#include "common/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* after those that it needs */
#include <cmocka.h>

enum { SMALL_BYTES = 14 * 1024, LARGE_BYTES = 4 * SMALL_BYTES };

static void read_accept(const char *text)
{
	(void)local_reply_prefers_html(text);
}

static void repair_cookie(const char *text)
{
	free(http_cookie_repaired(text));
}

static void read_connection(const char *text)
{
	struct http_connection c = {0};

	(void)!http_connection_add(&c, text, strlen(text));
}

static void read_length(const char *text)
{
	long long length;

	(void)http_content_length(text, strlen(text), &length);
}

static void read_path(const char *text)
{
	(void)http_path_is_plain(text, strlen(text));
}

static void ignore_pair(void *ctx, const char *key, size_t key_bytes, const char *value,
			size_t value_bytes)
{
	(void)ctx;
	(void)key;
	(void)key_bytes;
	(void)value;
	(void)value_bytes;
}

static void read_query(const char *text)
{
	(void)!query_parse(text, strlen(text), ignore_pair, NULL);
}

static void write_field(const char *name, const char *value)
{
	static const struct public_name below = {"/abc", "https://pub.example", "00ff", false,
						 false};
	struct head h = {0};
	struct buf out = {0};
	struct response r;

	head_add(&h, ":status", "200");
	head_add(&h, ":origin", "http://localhost:3000/base");
	head_add(&h, name, value);
	(void)!rewrite_response(&r, &below, "Status:", h.data, h.bytes, &out);
	head_fini(&h);
	buf_fini(&out);
}

static void write_cookie(const char *text)
{
	write_field("Set-Cookie", text);
}

static void write_refresh(const char *text)
{
	write_field("Refresh", text);
}

static void write_location(const char *text)
{
	write_field("Location", text);
}

static void write_lists(const char *text)
{
	struct destination_map m = {.from_prefix = "/abc", .to_origin = "x", .to_prefix = ""};
	struct head_field f = {"If", 2, text, strlen(text)};
	struct buf out = {0};

	destination_write(&out, &m, &f);
	buf_fini(&out);
}

/* CPU for `bytes` of a text that repeats: the least of three. */
static double seconds_for(void (*read)(const char *text), const char *piece, size_t bytes)
{
	char *text = malloc(bytes + 1);
	size_t piece_bytes = strlen(piece);
	double least = 1e9;

	for (size_t i = 0; i < bytes; i++)
		text[i] = piece[i % piece_bytes];
	text[bytes] = '\0';
	for (int i = 0; i < 3; i++) {
		struct timespec before, after;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
		for (int j = 0; j < 20; j++)
			read(text);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
		double took = (double)(after.tv_sec - before.tv_sec) +
			      (double)(after.tv_nsec - before.tv_nsec) / 1e9;
		least = took < least ? took : least;
	}
	free(text);
	return least;
}

static void test_growth(void **state)
{
	static const struct {
		void (*read)(const char *text);
		const char *pieces[6];
	} rows[] = {
		{read_accept,
		 {",", "text/html;q=0.1,", "*/*;;;;", "text/*,", "a;q=", "text/html "}},
		{repair_cookie, {", ", ", a", ", aaaaaaaaaaaaaaaa", ",", "a=b, c=d"}},
		{read_connection, {",", "close,", "a,b,c,", " ", "close, \t"}},
		{read_length, {"5,", "5 ,", ","}},
		{read_path, {"/", ".", "%2e", "%", "\\."}},
		{read_query, {"&", "a=b&", "%", "=", "a=\xff&"}},
		{write_cookie, {";", "; path=/", "=", "a", " ;domain=localhost"}},
		{write_refresh, {";", "5; url=", "'", "url='/"}},
		{write_location, {"/", "http://", "[", ":", "http://localhost:3000/base"}},
		{write_lists, {"<", "<>", "\"<", "(", "</abc>", "(<"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t j = 0; j < 6 && rows[i].pieces[j] != NULL; j++) {
			double small = seconds_for(rows[i].read, rows[i].pieces[j], SMALL_BYTES);
			double large = seconds_for(rows[i].read, rows[i].pieces[j], LARGE_BYTES);
			/* what is too quick to measure is not the square of anything */
			if (large > 10 * small && large > 0.01)
				fail_msg("row %zu \"%s\": %.1f times as long", i, rows[i].pieces[j],
					 large / small);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_growth)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
