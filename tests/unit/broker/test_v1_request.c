/* The request message of protocol v1: its bytes, its limit, and what missing memory does. */
#include "broker/core/v1_request.h"
#include "common/head.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static struct head head;
static struct buf out;

/* jansson's allocator here: after this many blocks there is no memory. */
static size_t blocks_left = SIZE_MAX;

static void *limited_malloc(size_t bytes)
{
	if (blocks_left == 0)
		return NULL;
	blocks_left--;
	return malloc(bytes);
}

static int set_up(void **state)
{
	(void)state;
	blocks_left = SIZE_MAX;
	json_set_alloc_funcs(limited_malloc, free);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	head_fini(&head);
	buf_fini(&out);
	json_set_alloc_funcs(malloc, free);
	return 0;
}

static void begin(const char *method, const char *target)
{
	head_clear(&head);
	head_add(&head, ":method", method);
	head_add(&head, ":target", target);
}

static enum fail write_it(size_t body_bytes)
{
	const struct v1_request r = {.corr = (const uint8_t *)"\x00\x11\x22\x33\x44\x55\x66\x77"
							      "\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
				     .head = head.data,
				     .head_bytes = head.bytes,
				     .body_bytes = body_bytes,
				     .has_length = true};

	buf_consume(&out, buf_bytes(&out));
	return v1_request_write(&r, &out);
}

static void expect_text(const char *text)
{
	if (buf_bytes(&out) != strlen(text) || memcmp(buf_first(&out), text, strlen(text)) != 0)
		fail_msg("%.*s", (int)buf_bytes(&out), (const char *)buf_first(&out));
}

#define UUID "00112233-4455-6677-8899-aabbccddeeff"

/* Up to and including the quote that the base64 of the body stands behind. */
static void test_text(void **state)
{
	(void)state;
	begin("PUT", "/p\"\\\x01q?a=%22%00&b");
	head_add(&head, "x-b", "1");
	head_add(&head, "x-latin", "\xe9");
	head_add(&head, "X-B", "\xc3\xa9");
	head_add(&head, "x-b", "");
	head_add(&head, "x-empty", "");
	head_add(&head, "content-length", "99");
	assert_int_equal(write_it(3), FAIL_NONE);
	expect_text(
		"{\"correlation_id\":\"" UUID "\",\"url_path\":\"p\\\"\\\\\\u0001q\","
		"\"url_query\":\"[[\\\"a\\\",\\\"\\\\\\\"\\\\u0000\\\"],[\\\"b\\\",\\\"\\\"]]\","
		"\"method\":\"PUT\",\"headers\":\"{\\\"x-b\\\":\\\"1, \xc3\xa9, \\\","
		"\\\"x-latin\\\":\\\"\xc3\xa9\\\",\\\"x-empty\\\":\\\"\\\","
		"\\\"accept-encoding\\\":\\\"identity\\\",\\\"content-length\\\":\\\"3\\\"}\","
		"\"body\":\"");
	begin("GET", "/");
	assert_int_equal(write_it(0), FAIL_NONE);
	expect_text("{\"correlation_id\":\"" UUID "\",\"url_path\":\"\",\"url_query\":\"[]\","
		    "\"method\":\"GET\",\"headers\":\"{\\\"accept-encoding\\\":\\\"identity\\\","
		    "\\\"content-length\\\":\\\"0\\\"}\",\"body\":\"");
}

static enum fail write_pairs(size_t count)
{
	char target[2 * (V1_REQUEST_PAIRS_MAX + 1) + 3] = "/?";

	for (size_t i = 0; i < count; i++)
		memcpy(target + 2 + 2 * i, "a&", 3);
	begin("GET", target);
	return write_it(0);
}

static void test_number_of_pairs(void **state)
{
	(void)state;
	assert_int_equal(write_pairs(V1_REQUEST_PAIRS_MAX), FAIL_NONE);
	assert_int_equal(write_pairs(V1_REQUEST_PAIRS_MAX + 1), FAIL_BAD_REQUEST);
}

/* Whichever block of jansson's is missing, the request fails, and the sanitizers see no leak. */
static void test_without_memory(void **state)
{
	size_t blocks = 0;
	enum fail f;

	(void)state;
	begin("GET", "/a?b=c&d=e");
	head_add(&head, "x-a", "1");
	head_add(&head, "x-b", "\xe9");
	do {
		blocks_left = blocks++;
		f = write_it(1);
		assert_true(f == FAIL_OVERLOADED || f == FAIL_NONE);
	} while (f != FAIL_NONE);
	assert_in_range(blocks, 20, 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_text),
		TEST(test_number_of_pairs),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
