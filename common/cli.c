/* common/cli.c - see cli.h. */
#include "common/cli.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

const char *cli_program = "pipegate";

int cli_complain(const char *name, const char *why, const char *value)
{
	char quoted[256];

	if (value == NULL)
		fprintf(stderr, "%s: %s: %s\n", cli_program, name, why);
	else
		fprintf(stderr, "%s: %s: %s: \"%s\"\n", cli_program, name, why,
			log_quote(quoted, sizeof quoted, value, strlen(value)));
	return EXIT_CONFIG;
}

bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *out)
{
	int64_t value = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		int digit = *text - '0';
		if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (value < least || value > most)
		return false;
	*out = value;
	return true;
}

int cli_number_variable(const char *name, int64_t standard, int64_t least, int64_t most,
			int64_t *out)
{
	const char *text = getenv(name);
	char why[96];

	*out = standard;
	if (text == NULL || cli_parse_number(text, least, most, out))
		return 0;
	snprintf(why, sizeof why, "not a whole number from %lld to %lld", (long long)least,
		 (long long)most);
	return cli_complain(name, why, text);
}

static bool is_loopback_tcp(const char *endpoint)
{
	return strncmp(endpoint, "tcp://127.", 10) == 0 ||
	       strncmp(endpoint, "tcp://[::1]:", 12) == 0 ||
	       strncmp(endpoint, "tcp://localhost:", 16) == 0;
}

const char *cli_gate_fault(const char *endpoint)
{
	if (strncmp(endpoint, "ipc:///", 7) == 0)
		return strlen(endpoint + 6) < 108 ? NULL : "path longer than 107 bytes";
	if (strncmp(endpoint, "ipc://", 6) == 0)
		return "ipc:// needs an absolute path";
	if (strncmp(endpoint, "tcp://", 6) != 0)
		return "neither ipc:///PATH nor tcp://ADDR:PORT";
	if (!is_loopback_tcp(endpoint))
		return "whoever reaches the gate can send requests: only loopback addresses are "
		       "possible";
	return NULL;
}

void cli_raise_descriptor_limit(void)
{
	enum { ENOUGH = 65536 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= ENOUGH)
		return;
	limit.rlim_cur = limit.rlim_max < ENOUGH ? limit.rlim_max : ENOUGH;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* what cannot be has a bound of its own */
}
