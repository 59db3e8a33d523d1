/* broker/revocations.h - Tokens that are refused although they are signed and in time: by their
 * jti, by their sub, or all that were issued before a time.
 *
 * They are kept in one file of the state directory (PIPEGATE_STATE), which is replaced as a whole:
 * a crash or a full disk leaves the old one. */
#ifndef PIPEGATE_REVOCATIONS_H
#define PIPEGATE_REVOCATIONS_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* Limit on the names in the list, so that its file stays below 3 MiB. */
	REVOCATIONS_MAX = 10000,
	REVOCATIONS_NAME_MAX_BYTES = 255,
};

struct revocations;

/* Reads the list of `directory`, which one broker may use at a time. `directory` NULL: the list is
 * empty, and is lost at the end. NULL: `fault` has the reason. */
struct revocations *revocations_load(const char *directory, char *fault,
				     size_t fault_bytes) MUST_CHECK;
void revocations_free(struct revocations **rp);

/* True if a token with these claims is revoked. `r` may be NULL. */
bool revocations_have(const struct revocations *r, const char *subject, const char *jti,
		      int64_t issued_s);

/* These add to the list and save it. The change is in force when they return, whether it could be
 * saved or not. False: it could not be saved, or the list is full and nothing has changed; `fault`
 * has the reason. `before_s` (Unix time): tokens with an earlier iat, or with none, are revoked. */
bool revocations_add_token(struct revocations *r, const char *jti, char *fault,
			   size_t fault_bytes) MUST_CHECK;
bool revocations_add_subject(struct revocations *r, const char *subject, int64_t before_s,
			     char *fault, size_t fault_bytes) MUST_CHECK;
bool revocations_add_all(struct revocations *r, int64_t before_s, char *fault,
			 size_t fault_bytes) MUST_CHECK;

/* False: the list is not kept over a restart. */
bool revocations_are_kept(const struct revocations *r);
size_t revocations_count(const struct revocations *r);

#endif
