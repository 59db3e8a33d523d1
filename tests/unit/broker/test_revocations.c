/* Revocations: in force at once, kept over a restart, and never lost to a broken or full disk. */
#include "broker/revocations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

static char directory[] = "/tmp/pipegate-revocations-XXXXXX";
static char fault[600];

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(directory) != NULL ? 0 : -1;
}

static int empty(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s/*", directory);
	return system(command);
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(directory);
}

static struct revocations *load(void)
{
	struct revocations *r = revocations_load(directory, fault, sizeof fault);

	if (r == NULL)
		fail_msg("%s", fault);
	return r;
}

static void check_list(const struct revocations *r)
{
	assert_true(revocations_have(r, "x", "token-1", 1000));
	assert_false(revocations_have(r, "x", "token-2", 1000));
	assert_false(revocations_have(r, "x", "", 1000));
	assert_true(revocations_have(r, "my-app", "", 499));
	assert_false(revocations_have(r, "my-app", "", 500));
	assert_true(revocations_have(r, "my-app", "", 0));
	assert_false(revocations_have(r, "my-app2", "", 499));
	assert_true(revocations_have(r, "any", "", 99));
	assert_false(revocations_have(r, "any", "", 100));
}

static void test_kept(void **state)
{
	struct revocations *r = load();

	(void)state;
	assert_true(revocations_are_kept(r));
	assert_int_equal(revocations_count(r), 0);
	assert_false(revocations_have(r, "my-app", "token-1", 0));
	assert_true(revocations_add_token(r, "token-1", fault, sizeof fault));
	assert_true(revocations_add_subject(r, "my-app", 500, fault, sizeof fault));
	assert_true(revocations_add_subject(r, "my-app", 400, fault, sizeof fault));
	assert_true(revocations_add_all(r, 100, fault, sizeof fault));
	check_list(r);
	revocations_free(&r);
	r = load();
	check_list(r);
	assert_int_equal(revocations_count(r), 3);
	/* All that was issued before 600: my-app needs no line of its own any more. */
	assert_true(revocations_add_all(r, 600, fault, sizeof fault));
	assert_true(revocations_have(r, "my-app", "", 500));
	assert_int_equal(revocations_count(r), 2);
	revocations_free(&r);
	assert_false(revocations_have(NULL, "my-app", "token-1", 0));
}

static void test_in_memory(void **state)
{
	struct revocations *r = revocations_load(NULL, fault, sizeof fault);

	(void)state;
	assert_non_null(r);
	assert_false(revocations_are_kept(r));
	assert_true(revocations_add_token(r, "token-1", fault, sizeof fault));
	assert_true(revocations_have(r, "x", "token-1", 0));
	revocations_free(&r);
}

static void test_one_broker(void **state)
{
	struct revocations *r = load();

	(void)state;
	assert_null(revocations_load(directory, fault, sizeof fault));
	assert_non_null(strstr(fault, "in use by another broker"));
	revocations_free(&r);
	r = load();
	revocations_free(&r);
	assert_null(revocations_load("/nowhere/at/all", fault, sizeof fault));
	assert_string_equal(fault, "/nowhere/at/all: No such file or directory");
}

static void write_list(const char *text)
{
	char path[100];

	snprintf(path, sizeof path, "%s/revocations.json", directory);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* A broker that cannot read its list must not start without it. */
static void test_broken_list(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"jti\":{},\"sub\":{},\"issued_before\":0}",
		"{\"jti\":[1],\"sub\":{},\"issued_before\":0}",
		"{\"jti\":[\"\"],\"sub\":{},\"issued_before\":0}",
		"{\"jti\":[],\"sub\":{\"a\":\"b\"},\"issued_before\":0}",
		"{\"jti\":[],\"sub\":{},\"issued_before\":\"0\"}",
		"{\"jti\":[],\"sub\":{},\"issued_before\":0}x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		write_list(texts[i]);
		*fault = '\0';
		assert_null(revocations_load(directory, fault, sizeof fault));
		assert_non_null(strstr(fault, "/revocations.json: "));
	}
	write_list("{\"jti\":[\"a\"],\"sub\":{},\"issued_before\":0,\"later\":1}");
	struct revocations *r = load();
	assert_true(revocations_have(r, "", "a", 0));
	revocations_free(&r);
}

/* The new list cannot be written: the change is in force, and the old file stays. */
static void test_cannot_save(void **state)
{
	struct revocations *r = load();
	char path[100];

	(void)state;
	assert_true(revocations_add_token(r, "token-1", fault, sizeof fault));
	snprintf(path, sizeof path, "%s/revocations.new", directory);
	assert_int_equal(mkdir(path, 0700), 0); /* in its way, for root too */
	assert_false(revocations_add_token(r, "token-2", fault, sizeof fault));
	assert_non_null(strstr(fault, "/revocations.json: "));
	assert_true(revocations_have(r, "", "token-2", 0));
	revocations_free(&r);
	r = load();
	assert_true(revocations_have(r, "", "token-1", 0));
	assert_false(revocations_have(r, "", "token-2", 0));
	/* There is room again: the next change is kept. */
	assert_int_equal(rmdir(path), 0);
	assert_true(revocations_add_token(r, "token-2", fault, sizeof fault));
	revocations_free(&r);
	r = load();
	assert_true(revocations_have(r, "", "token-2", 0));
	revocations_free(&r);
}

static void test_full(void **state)
{
	struct revocations *r = revocations_load(NULL, fault, sizeof fault);
	char name[20];

	(void)state;
	for (int i = 0; i < REVOCATIONS_MAX; i++) {
		snprintf(name, sizeof name, "%d", i);
		assert_true(revocations_add_token(r, name, fault, sizeof fault));
	}
	assert_false(revocations_add_token(r, "more", fault, sizeof fault));
	assert_false(revocations_add_subject(r, "more", 1, fault, sizeof fault));
	assert_non_null(strstr(fault, "10000 names"));
	assert_true(revocations_add_token(r, "7", fault, sizeof fault)); /* is in it already */
	assert_true(revocations_add_all(r, 5, fault, sizeof fault));
	revocations_free(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, empty)
	const struct CMUnitTest tests[] = {
		TEST(test_kept),	TEST(test_in_memory),	TEST(test_one_broker),
		TEST(test_broken_list), TEST(test_cannot_save), TEST(test_full),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
