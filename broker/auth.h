/* broker/auth.h - Tunnel tokens: JSON Web Tokens (RFC 7519). auth.c is the only file that includes
 * jwt.h. */
#ifndef PIPEGATE_AUTH_H
#define PIPEGATE_AUTH_H

#include "broker/config.h"
#include "broker/keyring.h"
#include "broker/revocations.h"
#include "common/check.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

enum auth_result {
	AUTH_OK,
	AUTH_MISSING,
	AUTH_INVALID,
	AUTH_EXPIRED,
	AUTH_EARLY,
	AUTH_REVOKED,
	AUTH_OTHER_ID, /* it is not for the connection id that was asked for */
};

enum {
	AUTH_TOKEN_MAX_BYTES = 8192,
	/* How far nbf and iat may be in the future. exp has no leeway. */
	AUTH_LEEWAY_MS = 60000,
	AUTH_JTI_MAX_BYTES = 255,
	AUTH_IDS_MAX = 64, /* elements of the claim "ids" */
};

/* What tokens are checked with. The owner of the three may replace `keys` at any time. */
struct auth {
	const struct config *config;
	const struct keyring *keys;
	const struct revocations *revocations; /* NULL: none */
};

/* What a token allows. */
struct auth_grant {
	char connection_id[CONNECTION_ID_MAX_BYTES + 1];
	/* The time from the check until the token expires. Count it by the monotonic clock: the
	 * wall clock may be set. */
	int64_t life_ms;
	char subject[CONNECTION_ID_MAX_BYTES + 1]; /* the claim sub */
	char jti[AUTH_JTI_MAX_BYTES + 1];	   /* "": it has none */
	int64_t issued_s;			   /* iat; 0: it has none */
	int64_t max_running;			   /* 0: no limit of its own */
	int64_t max_body_bytes;			   /* 0: no limit of its own */
};

/* Checks an untrusted token for a tunnel of `id`; NULL: of its claim sub. `now_ms`: Unix time in
 * milliseconds. AUTH_OK sets *out. AUTH_EXPIRED, AUTH_EARLY (nbf or iat is in the future),
 * AUTH_REVOKED and AUTH_OTHER_ID set its connection_id only: the signature was good. */
enum auth_result auth_check(const struct auth *a, const char *token, size_t bytes, const char *id,
			    int64_t now_ms, struct auth_grant *out) MUST_CHECK;

/* True if the token is one of ours, valid or not: it is signed with a secret of ours, or it is
 * signed with a public key's private half, and has our issuer and audience. (The issuer of a public
 * key may sign tokens for other services too.) */
bool auth_is_ours(const struct auth *a, const char *token, size_t bytes);

/* Returns the close reason (contract sections 4 and 6). `result` must not be AUTH_OK. */
const char *auth_reason(enum auth_result result);

/* Returns a new token, signed by `signer` with the algorithm `a`; the caller frees it. NULL: it
 * could not be signed. */
char *auth_mint(const struct config *c, const struct key *signer, enum key_algorithm a,
		const char *connection_id, int64_t now_s) MUST_CHECK;

const char *auth_library_version(void);

#endif
