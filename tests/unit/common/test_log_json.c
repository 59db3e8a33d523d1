/* A line of the log as a JSON object: its members, their types, and what does not fit. */
#include "common/log_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

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

static void test_values(void **state)
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

/* As a reader sees it: the members of the text in their order. */
static void test_form(void **state)
{
	char out[512];
	size_t bytes = log_json_write(out, sizeof out, "warn", "x.y b=1 a=\"two words\" c=\x01", 2);

	(void)state;
	out[bytes] = '\0';
	assert_memory_equal(out, "{\"time\": \"20", 12);
	const char *rest = strstr(out, "\"event\"");
	assert_non_null(rest);
	assert_string_equal(rest, "\"event\": \"x.y\", \"b\": 1, \"a\": \"two words\", "
				  "\"c\": \"\\\\x01\", \"suppressed\": 2}");
}

/* Too many pairs, and a key for the third time, are in "text", and nothing is lost. */
static void test_what_is_no_member(void **state)
{
	char text[1024] = "many.pairs again=1 again=2 again=3";

	(void)state;
	for (int i = 0; i < 40; i++)
		sprintf(text + strlen(text), " key%d=%d", i, i);
	json_t *o = parse(text, 0);
	assert_int_equal(json_integer_value(json_object_get(o, "again")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "again_")), 2);
	assert_non_null(strstr(string_of(o, "text"), "again=3"));
	for (int i = 0; i < 40; i++) {
		char key[16], pair[32];
		snprintf(key, sizeof key, "key%d", i);
		snprintf(pair, sizeof pair, "key%d=%d", i, i);
		assert_true(json_object_get(o, key) != NULL ||
			    strstr(string_of(o, "text"), pair) != NULL);
	}
	json_decref(o);
}

/* With each size of the room: the whole object, or one that says so. */
static void test_room(void **state)
{
	char whole[512], out[512];
	const char *text = "a.b path=\"/\\\\x\" conn=my-app n=5 some words";
	size_t whole_bytes = log_json_write(whole, sizeof whole, "info", text, 7);

	(void)state;
	for (size_t room = 128; room < sizeof out; room++) {
		memset(out, '!', sizeof out);
		size_t bytes = log_json_write(out, room, "info", text, 7);
		json_t *o = json_loadb(out, bytes, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(o);
		assert_true(bytes <= room && out[room] == '!');
		if (room > whole_bytes)
			assert_int_equal(bytes, whole_bytes);
		else if (room < whole_bytes)
			assert_string_equal(string_of(o, "event"), "log.no_room");
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_what_is_no_member),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
