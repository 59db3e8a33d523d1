/* client/token_file.h - Reads the file of --token-file. */
#ifndef PIPEGATE_TOKEN_FILE_H
#define PIPEGATE_TOKEN_FILE_H

#include "client/token.h"
#include "common/check.h"

#include <stdbool.h>

enum {
	TOKEN_FILE_MAX_BYTES = 2 * TOKEN_MAX_BYTES,
	TOKEN_FILE_WAIT_MS = 10000, /* for all input of a pipe, FIFO or terminal */
};

/* Zero-initialise; end with token_file_fini(). */
struct token_file {
	char *text;	/* the contents; NULL after a failure */
	bool is_public; /* every user of this machine can read it */
	char why[160];	/* the failure */
};

/* Reads the file to its end, and gives up after `wait_ms`. False: `why` has the reason. */
bool token_file_read(struct token_file *f, const char *path, int wait_ms) MUST_CHECK;
void token_file_fini(struct token_file *f);

#endif
