/* broker/jwk.h - JSON Web Keys: the public keys of a token issuer, as a file (RFC 7517). */
#ifndef PIPEGATE_JWK_H
#define PIPEGATE_JWK_H

#include "broker/key.h"

struct jwk_reader {
	/* Takes a key. False: no more are accepted, and the set is not read further. */
	bool (*take)(void *ctx, struct key *k);
	/* A key that is not for us, and was skipped (RFC 7517 5). `id` may be "". */
	void (*skipped)(void *ctx, const char *id, const char *why);
	void *ctx;
};

/* Reads a JWK Set, or one JWK. Keys of unknown types, for encryption, or for an algorithm that is
 * not in KEY_ALGORITHMS are skipped. False: the text is no JWK Set or has a broken key;
 * `fault` says where. */
bool jwk_read(const char *text, size_t bytes, const struct jwk_reader *r, char *fault,
	      size_t fault_bytes) MUST_CHECK;

#endif
