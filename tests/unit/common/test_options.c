/* Flags, variables and defaults by a table: what wins, and what is refused with which exit code. */
#include "common/cli.h"
#include "common/log.h"
#include "common/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

struct values {
	const char *name, *path, *raw, *word;
	int64_t wait_ms;
	bool on;
};

static const char *no_x(const char *text)
{
	return strchr(text, 'x') ? "has an x" : NULL;
}

#define AT(member) .offset = offsetof(struct values, member)
static const struct setting settings[] = {
	{SETTING_TEXT, .letter = 'n', .flag = "name", .argument = "NAME", .variable = "T_NAME",
	 .standard = "nobody", .fault = no_x, AT(name), .help = "name"},
	{SETTING_TEXT, .flag = "path", .argument = "PATH", .variable = "T_PATH", AT(path),
	 .help = "path"},
	{SETTING_RAW, .variable = "T_RAW", AT(raw), .help = "raw"},
	{SETTING_NUMBER, .flag = "wait", .argument = "S", .variable = "T_WAIT", .standard = "5", 1,
	 60, 1000, AT(wait_ms), .help = "wait"},
	{SETTING_SWITCH, .flag = "on", AT(on), .help = "on"},
	SETTINGS_LOG,
	{.type = SETTING_END},
};
static const struct operand operands[] = {
	{"WORD", "a word", .offset = offsetof(struct values, word)}, {0}};
static const struct program plain = {.name = "test", .settings = settings};
static const struct program with_word = {
	.name = "test", .settings = settings, .operands = operands};

/* `line`: words between blanks. "NAME=value" at its start is a variable. */
static int run(const struct program *p, const char *line, struct values *v)
{
	static char text[256];
	char program[] = "test", *argv[16] = {program};
	int argc = 1;

	for (const struct setting *s = settings; s->type != SETTING_END; s++) {
		if (s->variable != NULL)
			unsetenv(s->variable);
	}
	snprintf(text, sizeof text, "%s", line);
	for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
		char *equals = strchr(word, '=');
		if (argc == 1 && equals != NULL && *word != '-') {
			*equals = '\0';
			setenv(word, equals + 1, 1);
		} else {
			argv[argc++] = word;
		}
	}
	*v = (struct values){0};
	log_mode = LOG_TEXT;
	return options_read(p, argc, argv, v);
}

static void test_what_wins(void **state)
{
	struct values v;

	(void)state;
	assert_int_equal(run(&plain, "", &v), -1);
	assert_string_equal(v.name, "nobody");
	assert_null(v.path);
	assert_null(v.raw);
	assert_int_equal(v.wait_ms, 5000);
	assert_false(v.on);

	assert_int_equal(run(&plain, "T_NAME=a T_PATH=b T_RAW= T_WAIT=7 PIPEGATE_LOG=json", &v),
			 -1);
	assert_string_equal(v.name, "a");
	assert_string_equal(v.path, "b");
	assert_string_equal(v.raw, "");
	assert_int_equal(v.wait_ms, 7000);
	assert_int_equal(log_mode, LOG_JSON);

	assert_int_equal(run(&plain, "T_NAME=x T_WAIT=bad T_PATH= -n a --wait 60 --on", &v), -1);
	assert_string_equal(v.name, "a");
	assert_null(v.path);
	assert_int_equal(v.wait_ms, 60000);
	assert_true(v.on);

	assert_int_equal(run(&plain, "--name=a --name=b", &v), -1);
	assert_string_equal(v.name, "b");
}

static void test_words(void **state)
{
	struct values v;

	(void)state;
	assert_int_equal(run(&with_word, "one --on", &v), -1);
	assert_string_equal(v.word, "one");
	assert_true(v.on);
	assert_int_equal(run(&with_word, "-- --on", &v), -1);
	assert_string_equal(v.word, "--on");
	assert_false(v.on);
	assert_int_equal(run(&with_word, "", &v), EXIT_USAGE);
	assert_int_equal(run(&with_word, "one two", &v), EXIT_USAGE);
	assert_int_equal(run(&plain, "one", &v), EXIT_USAGE);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *line;
		int result;
	} rows[] = {
		{"--wait 0", EXIT_USAGE},	{"--wait 61", EXIT_USAGE},
		{"--wait x", EXIT_USAGE},	{"--wait=", EXIT_USAGE},
		{"T_WAIT=0", EXIT_CONFIG},	{"T_WAIT=61", EXIT_CONFIG},
		{"T_WAIT=", EXIT_CONFIG},	{"-n x", EXIT_USAGE},
		{"T_NAME=x", EXIT_CONFIG},	{"T_NAME=", EXIT_CONFIG},
		{"--on=yes", EXIT_USAGE},	{"--wai 5", EXIT_USAGE},
		{"--wait", EXIT_USAGE},		{"-n", EXIT_USAGE},
		{"--nonsense", EXIT_USAGE},	{"-x", EXIT_USAGE},
		{"--n a", EXIT_USAGE},		{"PIPEGATE_LOG=loud", EXIT_CONFIG},
		{"PIPEGATE_LOG=", EXIT_CONFIG},
	};
	struct values v;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int result = run(&plain, rows[i].line, &v);
		if (result != rows[i].result)
			fail_msg("%s: %d", rows[i].line, result);
	}
	/* A flag is checked before a variable, whatever the environment contains. */
	assert_int_equal(run(&plain, "T_NAME=x --wait 0", &v), EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_wins),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
