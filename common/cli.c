/* common/cli.c - see cli.h. */
#include "common/cli.h"

#include "common/buf.h"
#include "common/log.h"
#include "common/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

enum {
	/* A longer word may be a token. It is above the 64 of a connection id, so that an id that
	 * is slightly too long is still shown in the message that refuses it. */
	WORD_MAX_BYTES = 80,
	SHOWN_BYTES = 256,
};

const char *cli_program = "pipegate";

/* --- what may be shown --- */

static bool holds(const char *value, const char *variable)
{
	const char *secret = getenv(variable);

	return secret != NULL && *secret != '\0' && strstr(value, secret) != NULL;
}

/* Returns the length of the run of a token's alphabet: base64url and the dots between the parts. */
static size_t word_bytes(const char *at)
{
	return strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");
}

/* Three parts separated by dots may also be a host name. "eyJ" is the base64 form of '{"', with
 * which every JWT begins. */
static bool may_be_token(const char *value, const char *word, size_t bytes)
{
	return bytes > WORD_MAX_BYTES || strncmp(word, "eyJ", 3) == 0 ||
	       (word - value >= 6 && strncasecmp(word - 6, "token=", 6) == 0);
}

/* Appends the part of the value from `at` to `end`. Neither end may lie within a word. */
static void put_part(struct buf *out, const char *value, const char *at, const char *end)
{
	while (at < end) {
		size_t bytes = word_bytes(at);
		bool secret = bytes > 0 && may_be_token(value, at, bytes);
		if (bytes == 0)
			bytes = 1;
		buf_append(out, secret ? "..." : at, secret ? 3 : bytes);
		at += bytes;
	}
}

static void put_shown(struct buf *out, const char *value)
{
	const char *query = value + strcspn(value, "?#");
	const char *scheme_end = memmem(value, (size_t)(query - value), "://", 3);
	const char *authority = scheme_end ? scheme_end + 3 : value;
	const char *user_end = memrchr(authority, '@', strcspn(authority, "/?#"));

	put_part(out, value, value, authority);
	if (user_end != NULL)
		buf_append(out, "...", 3);
	put_part(out, value, user_end ? user_end : authority, query);
	if (*query != '\0') {
		buf_append(out, query, 1);
		buf_append(out, "...", 3);
	}
}

const char *cli_show(char *out, size_t out_bytes, const char *value)
{
	struct buf shown = {0};

	if (holds(value, "PIPEGATE_TOKEN") || holds(value, "PIPEGATE_JWT_SECRET"))
		buf_append(&shown, "...", 3);
	else
		put_shown(&shown, value);
	log_quote(out, out_bytes, buf_first(&shown), buf_bytes(&shown));
	buf_fini(&shown);
	return out;
}

/* --- complaints --- */

int cli_misuse(const char *why, const char *value)
{
	char shown[SHOWN_BYTES];

	fprintf(stderr, "%s: %s: \"%s\"\n", cli_program, why, cli_show(shown, sizeof shown, value));
	return EXIT_USAGE;
}

int cli_complain(const char *name, const char *why, const char *value)
{
	char shown[SHOWN_BYTES];

	if (value == NULL)
		fprintf(stderr, "%s: %s: %s\n", cli_program, name, why);
	else
		fprintf(stderr, "%s: %s: %s: \"%s\"\n", cli_program, name, why,
			cli_show(shown, sizeof shown, value));
	return EXIT_CONFIG;
}

/* --- values --- */

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

/* Parses the host instead of comparing a prefix: "127.example.org" is a name, and ZeroMQ connects
 * to HOST for "127.0.0.1:0;HOST:PORT". */
static bool is_loopback_tcp(const char *endpoint)
{
	struct place p;

	return place_read_host(&p, SCHEME_HTTP, endpoint + 6, strlen(endpoint + 6)) &&
	       place_is_loopback(&p);
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
		return "not a loopback address; the gate has no authentication, so it must not be "
		       "reachable from other machines";
	return NULL;
}

void cli_raise_descriptor_limit(void)
{
	enum { ENOUGH = 65536 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= ENOUGH)
		return;
	limit.rlim_cur = limit.rlim_max < ENOUGH ? limit.rlim_max : ENOUGH;
	/* On failure each module's own limit on connections still applies. */
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}
