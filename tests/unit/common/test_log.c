/* Lines that a peer can cause at will: how many pass, and that none is left out without a word. */
#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

enum { FLOOD = 5000, PEERS = 3000 };

static int real_stderr;
static FILE *caught;

static void catch_stderr(void)
{
	fflush(stderr);
	caught = tmpfile();
	assert_non_null(caught);
	real_stderr = dup(STDERR_FILENO);
	assert_true(dup2(fileno(caught), STDERR_FILENO) >= 0);
}

/* Counts the lines that contain the text; adds the numbers of suppressed lines in them. */
static int lines_with(const char *text, int *suppressed)
{
	char line[4096];
	int count = 0;

	rewind(caught);
	while (fgets(line, sizeof line, caught) != NULL) {
		const char *at = strstr(line, " suppressed=");
		assert_non_null(strchr(line, '\n'));
		if (strstr(line, text) == NULL)
			continue;
		count += strstr(line, "log.suppressed") == NULL;
		*suppressed += at != NULL ? atoi(at + strlen(" suppressed=")) : 0;
	}
	return count;
}

static void give_stderr_back(void)
{
	assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
	close(real_stderr);
	fclose(caught);
}

static void make_noise(int number)
{
	log_limited_warn("noisy", "flood.event who=\"noisy\" number=%d", number);
}

/* Whether or not the flood's counter makes room for the others: each of its lines is there, or
 * counted. */
static void test_a_flood_and_many_others(void **state)
{
	int suppressed = 0, ignored = 0, count = 0, last;
	char who[32];

	(void)state;
	catch_stderr();
	while (count < FLOOD)
		make_noise(count++);
	int burst = lines_with("\"noisy\"", &ignored);
	for (int i = 0; i < PEERS; i++) {
		snprintf(who, sizeof who, "quiet-%d", i);
		log_limited_warn(who, "flood.event who=%s", who);
	}
	log_limited_info("noisy", "flood.other");
	int quiet = lines_with("who=quiet-", &ignored), other = lines_with("flood.other", &ignored);
	last = lines_with("\"noisy\"", &ignored);
	do { /* one passes within a second */
		make_noise(count++);
	} while (lines_with("\"noisy\"", &ignored) == last);
	int all = lines_with("\"noisy\"", &suppressed);
	give_stderr_back();
	assert_in_range(burst, LOG_BURST, FLOOD / 2);
	assert_int_equal(quiet, PEERS);
	assert_int_equal(other, 1);
	assert_int_equal(all + suppressed, count);
}

static void test_with_verbose_all_pass(void **state)
{
	int suppressed = 0;

	(void)state;
	catch_stderr();
	log_verbose = true;
	for (int i = 0; i < 100; i++)
		log_limited_error("", "verbose.event");
	for (int i = 0; i < 100; i++)
		log_seldom_warn("verbose.seldom");
	log_verbose = false;
	for (int i = 0; i < 100; i++)
		log_seldom_warn("silent.seldom");
	int all = lines_with("verbose.", &suppressed), seldom = lines_with("silent.", &suppressed);
	give_stderr_back();
	assert_int_equal(all, 200);
	assert_int_equal(seldom, 1);
	assert_int_equal(suppressed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_flood_and_many_others),
		cmocka_unit_test(test_with_verbose_all_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
