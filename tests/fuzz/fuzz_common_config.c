/* What flags and variables say, and the shape of addresses. */
#include "common/cli.h"
#include "common/endpoint.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static void check_number(const char *text)
{
	int64_t value, bounded;
	char digits[24];

	if (!cli_parse_number(text, 0, INT64_MAX, &value)) {
		CHECK(!cli_parse_number(text, 1, 1000, &bounded));
		return;
	}
	CHECK(value >= 0 && strspn(text, "0123456789") == strlen(text));
	snprintf(digits, sizeof digits, "%lld", (long long)value);
	CHECK(strcmp(text + strlen(text) - strlen(digits), digits) == 0);
	CHECK(cli_parse_number(text, 1, 1000, &bounded) == (value >= 1 && value <= 1000));
}

/* No more of a word than a token can hide in. */
static void check_show(const char *text)
{
	char out[4096];
	size_t word = 0;

	CHECK(cli_show(out, sizeof out, text) == out);
	for (const char *at = out; *at; at++) {
		CHECK(*at >= 0x20 && *at < 0x7f);
		bool letter = (*at >= '0' && *at <= '9') ||
			      ((*at | 32) >= 'a' && (*at | 32) <= 'z') ||
			      strchr("-_.", *at) != NULL;
		word = letter ? word + 1 : 0;
		CHECK(word <= 3 + 80 + 3); /* behind the x41 of a byte, before "..." */
	}
	const char *query = strpbrk(text, "?#");
	CHECK(query == NULL || strstr(out, "...") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text = xcalloc(1, bytes + 1);
	const char *colon;

	memcpy(text, data, bytes);
	check_number(text);
	check_show(text);
	if (endpoint_valid(text)) {
		colon = strrchr(text, ':');
		CHECK(colon != NULL);
		if (strncmp(text, "unix:", 5) == 0)
			CHECK(strlen(text) > 5 && strlen(text) < 5 + 108);
		else
			CHECK(colon > text && atol(colon + 1) <= 65535);
	}
	if (cli_gate_fault(text) == NULL)
		CHECK(strncmp(text, "ipc:///", 7) == 0 || strncmp(text, "tcp://", 6) == 0);
	free(text);
	return 0;
}
