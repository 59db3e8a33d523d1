/* common/cli.h - What the command lines of all programs share: exit codes, and the one line that
 * says what is wrong with a flag or a variable. A token or the secret may stand anywhere in
 * them, and is never shown. */
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

/* What may be shown of a value, quoted as by log_quote(). "..." stands for the user and the
 * query of a URL, for all that may be a token (what begins like one, stands behind "token=", or
 * has more than 40 letters of their alphabet), and for the whole of a value that holds what
 * PIPEGATE_TOKEN or PIPEGATE_JWT_SECRET is set to. Returns out. */
const char *cli_show(char *out, size_t out_bytes, const char *value);

/* One line on stderr, `PROGRAM: why: "value"`. Returns EXIT_USAGE. */
int cli_misuse(const char *why, const char *value);

/* One line on stderr: `PROGRAM: NAME: why: "value"`, without the value where it is NULL. Returns
 * EXIT_CONFIG. */
int cli_complain(const char *name, const char *why, const char *value);

/* Whole decimal numbers between the bounds only. */
bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *out);

/* Why a ZeroMQ endpoint cannot be the gate; NULL: it can. Whoever reaches the gate can send
 * requests and it has no other lock than the place where it is: a unix socket, or TCP on this
 * machine only. */
const char *cli_gate_fault(const char *endpoint);

/* A descriptor for each peer: the soft limit, often 1024, goes up to the hard one, or to 65,536. */
void cli_raise_descriptor_limit(void);

#endif
