/* broker/auth.h - Tunnel tokens: JSON Web Tokens (RFC 7519) signed by HMAC (RFC 7518 3.2).
 * auth.c is the only file that includes jwt.h. */
#ifndef PIPEGATE_AUTH_H
#define PIPEGATE_AUTH_H

#include "broker/config.h"
#include "common/check.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

enum auth_result { AUTH_OK, AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_EARLY };

struct auth_grant {
	char connection_id[CONNECTION_ID_MAX_BYTES + 1];
	/* The time from the check until the token expires. Count it by the monotonic clock: the
	 * wall clock may be set. */
	int64_t life_ms;
};

enum {
	AUTH_TOKEN_MAX_BYTES = 8192,
	/* How far nbf and iat may be in the future. exp has no leeway. */
	AUTH_LEEWAY_MS = 60000,
};

/* Checks an untrusted token. `now_ms`: Unix time in milliseconds. AUTH_OK sets *out.
 * AUTH_EXPIRED and AUTH_EARLY (nbf or iat is in the future) set its connection_id only: the
 * signature was good. */
enum auth_result auth_check(const struct config *c, const char *token, size_t bytes, int64_t now_ms,
			    struct auth_grant *out) MUST_CHECK;

/* True if the token was signed with our secret by an allowed algorithm. It may have expired, and
 * its claims may be for another use. */
bool auth_is_ours(const struct config *c, const char *token, size_t bytes);

/* Returns the close reason (contract sections 4 and 6). `result` must not be AUTH_OK. */
const char *auth_reason(enum auth_result result);

/* Returns a new token, which the caller frees. NULL: libjwt failed. */
char *auth_mint(const struct config *c, const char *connection_id, int64_t now_s) MUST_CHECK;

const char *auth_library_version(void);

#endif
