/* common/cli.h - What the command lines of all programs share: exit codes, and the one line that
 * reports an invalid flag or variable. A value may contain a token or the secret; neither is ever
 * shown. */
#ifndef PIPEGATE_CLI_H
#define PIPEGATE_CLI_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	EXIT_USAGE = 2,	   /* unknown flag or impossible argument */
	EXIT_REFUSED = 77, /* pipegate-client: the token was refused; EX_NOPERM of sysexits.h */
	EXIT_CONFIG = 78,  /* bad configuration, or a name in use; EX_CONFIG */
};

extern const char *cli_program; /* "pipegate-broker", at the start of each such line */

/* Writes the part of a value that may be shown, quoted as by log_quote(). "..." replaces the user
 * and the query of a URL, each word that may be a token (it begins like a token, follows "token=",
 * or has more than 80 letters of a token's alphabet), and the whole value if it contains the value
 * of PIPEGATE_TOKEN or PIPEGATE_JWT_SECRET. Returns out. */
const char *cli_show(char *out, size_t out_bytes, const char *value);

/* Writes one line to stderr, `PROGRAM: why: "value"`. Returns EXIT_USAGE. */
int cli_misuse(const char *why, const char *value);

/* Writes one line to stderr, `PROGRAM: NAME: why: "value"`, without the value if that is NULL.
 * Returns EXIT_CONFIG. */
int cli_complain(const char *name, const char *why, const char *value);

/* Parses a whole decimal number. False: it is not one, or out of bounds. */
bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *out);

/* Returns why a ZeroMQ endpoint cannot be the gate; NULL: it can. The gate authenticates nobody:
 * every process that can connect may send requests. So only a unix socket, which has a file mode,
 * or a loopback address of TCP is allowed. */
const char *cli_gate_fault(const char *endpoint);

/* Raises the soft limit on open descriptors (often 1024) to the hard limit or 65,536, whichever is
 * lower: each peer needs a descriptor. */
void cli_raise_descriptor_limit(void);

#endif
