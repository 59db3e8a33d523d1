/* The responses that PipeGate makes itself, for each failure of the table. */
#include "common/local_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static const char *text_of(struct buf *out)
{
	static char text[4096];

	assert_true(buf_bytes(out) < sizeof text);
	memcpy(text, buf_first(out), buf_bytes(out));
	text[buf_bytes(out)] = '\0';
	buf_fini(out);
	return text;
}

static void test_each_failure(void **state)
{
	const struct local_reply_to to = {"Status:", "00ff", "", false};

	(void)state;
	for (int f = 1; f < FAIL_COUNT; f++) {
		struct buf out = {0};
		char expected[256], *end;
		const char *text, *body;

		local_reply_fail(&out, &to, (enum fail)f, false, f % 2);
		text = text_of(&out);
		snprintf(expected, sizeof expected, "Status: %d ",
			 fail_status((enum fail)f, false));
		assert_memory_equal(text, expected, strlen(expected));
		snprintf(expected, sizeof expected, "\r\nx-pipegate-error: %s; delivered=%s\r\n",
			 fail_code((enum fail)f), f % 2 ? "maybe" : "no");
		assert_non_null(strstr(text, expected));
		assert_non_null(strstr(text, "\r\nCache-Control: no-store\r\n"));
		assert_non_null(strstr(text, "\r\nx-pipegate-correlation-id: 00ff\r\n"));
		assert_int_equal(strstr(text, "\r\nRetry-After: ") != NULL,
				 fail_wants_retry_after((enum fail)f));
		body = strstr(text, "\r\n\r\n") + 4;
		snprintf(expected, sizeof expected, "{\"detail\":\"%s\"}",
			 fail_detail((enum fail)f));
		assert_string_equal(body, expected);
		assert_int_equal(strtol(strstr(text, "Content-Length: ") + 16, &end, 10),
				 strlen(body));
	}
}

/* Two codes have another status once the broker had accepted the request; a number that is not in
 * the table is no code. */
static void test_status(void **state)
{
	(void)state;
	assert_int_equal(fail_status(FAIL_BROKER_UNAVAILABLE, false), 503);
	assert_int_equal(fail_status(FAIL_BROKER_UNAVAILABLE, true), 502);
	assert_int_equal(fail_status(FAIL_SHUTTING_DOWN, false), 503);
	assert_int_equal(fail_status(FAIL_SHUTTING_DOWN, true), 504);
	assert_int_equal(fail_status(FAIL_QUEUE_FULL, true), 503);
	assert_int_equal(fail_status((enum fail)FAIL_COUNT, false), 502);
	assert_string_equal(fail_code((enum fail)FAIL_COUNT), "internal");
	assert_false(fail_wants_retry_after((enum fail)FAIL_COUNT));
}

static void test_forms(void **state)
{
	struct local_reply_to to = {"HTTP/1.1", "00ff", "text/html", true};
	struct buf out = {0};
	const char *text;

	(void)state;
	local_reply_fail(&out, &to, FAIL_TUNNEL_UNKNOWN, false, false);
	text = text_of(&out);
	assert_memory_equal(text, "HTTP/1.1 503 Service Unavailable\r\n", 34);
	assert_non_null(strstr(text, "Content-Type: text/html; charset=utf-8\r\n"));
	assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
	assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n"); /* HEAD has no body */
	local_reply_redirect(&out, &to, "/t/my-app/?a=b");
	text = text_of(&out);
	assert_non_null(strstr(text, " 308 Permanent Redirect\r\n"));
	assert_non_null(strstr(text, "\r\nLocation: /t/my-app/?a=b\r\n"));
	to.is_head = false;
	local_reply_health(&out, &to, true);
	assert_non_null(strstr(text_of(&out), "\r\n\r\n{\"status\":\"ok\"}"));
	local_reply_health(&out, &to, false);
	assert_non_null(strstr(text_of(&out), "\r\n\r\n{\"status\":\"unavailable\"}"));
}

static void test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool html;
	} rows[] = {
		{"", false},
		{"*/*", false},
		{"text/html", true},
		{"text/html,application/xhtml+xml,*/*;q=0.8", true},
		{"application/json, text/html;q=0.9", false},
		{"application/json;q=0.5, text/html", true},
		{"text/*", true},
		{"text/html;q=0", false},
		{"TEXT/HTML; charset=x; q=0.7, */*;q=0.1", true},
		{",,;;q=", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(local_reply_prefers_html(rows[i].accept), rows[i].html);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_failure),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
