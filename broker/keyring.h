/* broker/keyring.h - The keys that check tunnel tokens: PIPEGATE_JWT_SECRET, and the files of
 * PIPEGATE_JWT_KEYS. Immutable: to change the keys, load a new ring and free the old one. */
#ifndef PIPEGATE_KEYRING_H
#define PIPEGATE_KEYRING_H

#include "broker/config.h"
#include "broker/key.h"

enum {
	/* Limit on keys: a token without a kid is checked with each of its algorithm. */
	KEYRING_KEYS_MAX = 32,
	KEYRING_FILE_MAX_BYTES = 1 << 20,
};

struct keyring;

/* Reads PIPEGATE_JWT_SECRET, if it is set, and the file or directory PIPEGATE_JWT_KEYS: of a
 * directory, the files whose names end in .pem, .json or .jwks. The kid of a PEM file is its name
 * without ".pem". Skipped keys are logged. NULL: a file cannot be read, a key is broken, or there
 * is no key; `fault` has the file and the reason. */
struct keyring *keyring_load(const struct config *c, char *fault, size_t fault_bytes) MUST_CHECK;
void keyring_free(struct keyring **rp);

size_t keyring_count(const struct keyring *r);

/* Returns the next key after *at that serves the algorithm and may have signed a token with this
 * kid ("": the token has none); NULL: there is none. *at is 0 at first. A key without a kid may
 * have signed any token. */
const struct key *keyring_next(const struct keyring *r, enum key_algorithm a, const char *kid,
			       size_t *at);

/* Reads the private key of PIPEGATE_JWT_SIGNING_KEY, a PEM file. NULL: as keyring_load(). */
struct key *keyring_load_signer(const char *path, char *fault, size_t fault_bytes) MUST_CHECK;

#endif
