/* broker/key.h - One key that checks tokens, or signs them: an HMAC secret, or a public or private
 * key of RSA, ECDSA (RFC 7518 3) or Ed25519 (RFC 8037 3.1). key.c is the only file that includes
 * OpenSSL's headers for keys.
 *
 * A key serves only the algorithms of its own type, so no token can choose, say, HMAC with a public
 * key as the secret (RFC 8725 3.1). */
#ifndef PIPEGATE_KEY_H
#define PIPEGATE_KEY_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values of PIPEGATE_JWT_ALGORITHMS, as RFC 7518 3.1 and RFC 8037 name them. */
#define KEY_ALGORITHMS(X)                                                                          \
	X(HS256) X(HS384) X(HS512) X(RS256) X(RS384) X(RS512) X(ES256) X(ES384) X(ES512) X(EdDSA)

enum key_algorithm {
#define X(name) KEY_##name,
	KEY_ALGORITHMS(X)
#undef X
		KEY_ALGORITHM_COUNT
};

enum {
	KEY_ID_MAX_BYTES = 128,
	KEY_RSA_MIN_BITS = 2048,   /* RFC 7518 3.3 */
	KEY_RSA_MAX_BITS = 8192,   /* each check of a token costs more with more */
	KEY_SECRET_MIN_BYTES = 32, /* of a secret in a key file (RFC 7518 3.2) */
	KEY_MAC_MAX_BYTES = 64,	   /* HS512 */
	KEY_ED25519_BYTES = 64,	   /* a signature */
};

const char *key_algorithm_name(enum key_algorithm a);
bool key_algorithm_by_name(const char *name, enum key_algorithm *out); /* NULL: no algorithm */

struct key;

/* The makers copy what they need. `id` is the kid (RFC 7515 4.1.4), at most KEY_ID_MAX_BYTES; "":
 * the key has none. The caller ends each key with key_free(). NULL: *fault says why not. */
struct key *key_of_secret(const void *secret, size_t bytes, const char *id);
/* A public or a private key, or a certificate, in PEM (RFC 7468). */
struct key *key_of_pem(const char *text, size_t bytes, const char *id, const char **fault);
/* Public keys by their numbers, big-endian (RFC 7518 6.2 and 6.3, RFC 8037 2). */
struct key *key_of_rsa(const uint8_t *n, size_t n_bytes, const uint8_t *e, size_t e_bytes,
		       const char *id, const char **fault);
struct key *key_of_ec(const char *curve, const uint8_t *x, size_t x_bytes, const uint8_t *y,
		      size_t y_bytes, const char *id, const char **fault);
struct key *key_of_ed25519(const uint8_t *x, size_t bytes, const char *id, const char **fault);
void key_free(struct key **kp);

const char *key_id(const struct key *k);
bool key_is_secret(const struct key *k); /* HMAC */
bool key_can_sign(const struct key *k);
bool key_serves(const struct key *k, enum key_algorithm a);
/* Takes all algorithms away but this one (RFC 7517 4.4). False: it has none left. */
bool key_restrict(struct key *k, enum key_algorithm a) MUST_CHECK;

/* The key as libjwt needs it to check or to sign: the secret, or PEM text of the public or private
 * key. Lives as long as the key. key_to_sign() needs key_can_sign(). */
const unsigned char *key_to_check(const struct key *k, size_t *bytes);
const unsigned char *key_to_sign(const struct key *k, size_t *bytes);

/* HMAC. Writes at most KEY_MAC_MAX_BYTES and returns the number; 0: failed. */
size_t key_mac(const struct key *k, enum key_algorithm a, const void *data, size_t bytes,
	       uint8_t *out) MUST_CHECK;

/* Ed25519, which libjwt 1 does not have. `signature`: KEY_ED25519_BYTES. */
bool key_sign_ed25519(const struct key *k, const void *data, size_t bytes,
		      uint8_t *signature) MUST_CHECK;
bool key_verify_ed25519(const struct key *k, const void *data, size_t bytes,
			const uint8_t *signature) MUST_CHECK;

/* Compares in a time that tells nothing about the content. */
bool key_equal_bytes(const void *a, const void *b, size_t bytes);

#endif
