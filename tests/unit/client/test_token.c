/* The token, as people paste it. */
#include "client/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

#define T "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJteS1hcHAifQ.c2ln"

static void test_forms(void **state)
{
	static const char *const good[] = {
		T,
		T "\n",
		"  " T " \t\r\n\r\n",
		"\xef\xbb\xbf" T "\r\n",
		"JWT Bearer:    " T,
		"JWT Bearer:    " T "   \r\n",
		"Connection-id: my-app\nJWT Bearer:    " T "\n",
		"\nConnection-id: my-app\r\n\r\n  JWT Bearer: " T " \r\n",
		"Bearer " T,
		"Authorization: Bearer " T,
	};
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "is empty"},
		{" \n", "is empty"},
		{"Connection-id: my-app\n", "holds no token"},
		{"JWT Bearer:", "holds no token"},
		{T " " T, "is not a token"},
		{T "\n" T, "more than one"},
		{T "\nx: y", "more than one"},
		{"my token", "is not a token"},
		{"{\"token\":\"" T "\"}", "is not a token"},
		{"token=\x01", "is not a token"},
		{"t\xc3\xb6ken", "is not a token"},
		{"\"" T "\"", "quotes"},
		{"'" T "'\n", "quotes"},
		{"JWT Bearer: \"" T "\"", "quotes"},
	};

	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		char *token = token_find(good[i], &why);
		if (token == NULL)
			fail_msg("\"%s\" was refused", good[i]);
		assert_string_equal(token, T);
		free(token);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (token_find(bad[i].text, &why) != NULL)
			fail_msg("\"%s\" was taken", bad[i].text);
		if (strstr(why, bad[i].why) == NULL)
			fail_msg("\"%s\": %s", bad[i].text, why);
	}
}

static void test_size(void **state)
{
	char *text = calloc(1, TOKEN_MAX_BYTES + 2);
	const char *why;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', TOKEN_MAX_BYTES);
	char *token = token_find(text, &why);
	assert_non_null(token);
	free(token);
	text[TOKEN_MAX_BYTES] = 'x';
	assert_null(token_find(text, &why));
	free(text);
}

static void test_subject(void **state)
{
	static const char *const bad[] = {
		"",
		".",
		"..",
		"a.b.c",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjd9.c2ln", /* {"sub":7} */
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJteS1hcHAifQ",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWI!OiJteS1hcHAifQ.c2ln",
	};

	(void)state;
	char *subject = token_subject(T, strlen(T));
	assert_non_null(subject);
	assert_string_equal(subject, "my-app");
	free(subject);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(token_subject(bad[i], strlen(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_subject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
