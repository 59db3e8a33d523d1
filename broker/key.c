/* broker/key.c - see key.h. */
#include "broker/key.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct text {
	unsigned char *at;
	size_t bytes;
};

struct key {
	char id[KEY_ID_MAX_BYTES + 1];
	unsigned algorithms; /* one bit for each that it serves */
	EVP_PKEY *pkey;	     /* NULL: a secret */
	struct text check;   /* the secret, or PEM of the public key */
	struct text sign;    /* PEM of the private key; `at` NULL: there is none */
};

#define BIT(algorithm) (1u << (algorithm))

static const char *const names[] = {
#define X(name) [KEY_##name] = #name,
	KEY_ALGORITHMS(X)
#undef X
};

static const struct {
	const char *name; /* as RFC 7518 6.2.1.1 names it */
	const char *group;
	enum key_algorithm algorithm;
	size_t coordinate_bytes;
} curves[] = {
	{"P-256", "prime256v1", KEY_ES256, 32},
	{"P-384", "secp384r1", KEY_ES384, 48},
	{"P-521", "secp521r1", KEY_ES512, 66},
};

enum { CURVES = sizeof curves / sizeof curves[0], COORDINATE_MAX_BYTES = 66 };

const char *key_algorithm_name(enum key_algorithm a)
{
	return names[a];
}

bool key_algorithm_by_name(const char *name, enum key_algorithm *out)
{
	for (int i = 0; name != NULL && i < KEY_ALGORITHM_COUNT; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum key_algorithm)i;
			return true;
		}
	}
	return false;
}

static struct key *new_key(const char *id)
{
	struct key *k = xcalloc(1, sizeof *k);

	CHECK(strlen(id) <= KEY_ID_MAX_BYTES);
	strcpy(k->id, id);
	return k;
}

static struct text copy(const void *data, size_t bytes)
{
	return (struct text){memcpy(xmalloc(bytes + 1), data, bytes), bytes};
}

static void text_fini(struct text *t)
{
	if (t->at != NULL)
		OPENSSL_cleanse(t->at, t->bytes);
	free(t->at);
}

void key_free(struct key **kp)
{
	struct key *k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	EVP_PKEY_free(k->pkey);
	text_fini(&k->check);
	text_fini(&k->sign);
	free(k);
}

struct key *key_of_secret(const void *secret, size_t bytes, const char *id)
{
	struct key *k = new_key(id);

	k->algorithms = BIT(KEY_HS256) | BIT(KEY_HS384) | BIT(KEY_HS512);
	k->check = copy(secret, bytes);
	return k;
}

/* --- public and private keys --- */

/* Returns the algorithms that the key can serve. 0: *fault says why none. */
static unsigned algorithms_of(const EVP_PKEY *pkey, const char **fault)
{
	char group[64] = "";
	int bits = EVP_PKEY_get_bits(pkey);

	*fault = "a key of an unknown type: neither RSA, ECDSA nor Ed25519";
	if (EVP_PKEY_is_a(pkey, "ED25519"))
		return BIT(KEY_EdDSA);
	if (EVP_PKEY_is_a(pkey, "RSA")) {
		*fault = "an RSA key of less than 2048 or more than 8192 bits";
		return bits < KEY_RSA_MIN_BITS || bits > KEY_RSA_MAX_BITS
			       ? 0
			       : BIT(KEY_RS256) | BIT(KEY_RS384) | BIT(KEY_RS512);
	}
	if (EVP_PKEY_is_a(pkey, "EC") &&
	    EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1) {
		*fault = "a key on a curve other than P-256, P-384 and P-521";
		for (size_t i = 0; i < CURVES; i++) {
			if (strcmp(group, curves[i].group) == 0)
				return BIT(curves[i].algorithm);
		}
	}
	return 0;
}

static struct text pem_of(const EVP_PKEY *pkey, bool is_private)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *text;

	CHECK(out != NULL);
	if (is_private)
		CHECK(PEM_write_bio_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL) == 1);
	else
		CHECK(PEM_write_bio_PUBKEY(out, pkey) == 1);
	long bytes = BIO_get_mem_data(out, &text);
	struct text pem = copy(text, (size_t)bytes);
	OPENSSL_cleanse(text, (size_t)bytes);
	BIO_free(out);
	return pem;
}

/* Takes `pkey`; NULL: *fault is set already. */
static struct key *key_of(EVP_PKEY *pkey, bool is_private, const char *id, const char **fault)
{
	unsigned algorithms = pkey != NULL ? algorithms_of(pkey, fault) : 0;

	if (algorithms == 0) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	struct key *k = new_key(id);
	k->algorithms = algorithms;
	k->pkey = pkey;
	k->check = pem_of(pkey, false);
	if (is_private)
		k->sign = pem_of(pkey, true);
	return k;
}

/* OpenSSL asks for a pass phrase on the terminal if there is no function for it. */
static int no_pass_phrase(char *out, int bytes, int writing, void *ctx)
{
	(void)out;
	(void)bytes;
	(void)writing;
	(void)ctx;
	return -1;
}

static EVP_PKEY *read_certificate(BIO *in)
{
	X509 *certificate = PEM_read_bio_X509(in, NULL, no_pass_phrase, NULL);
	EVP_PKEY *pkey = certificate ? X509_get_pubkey(certificate) : NULL;

	X509_free(certificate);
	return pkey;
}

struct key *key_of_pem(const char *text, size_t bytes, const char *id, const char **fault)
{
	EVP_PKEY *pkey = NULL;
	bool is_private = false;

	*fault = "no key in PEM form (BEGIN PUBLIC KEY, PRIVATE KEY or CERTIFICATE)";
	for (int form = 0; pkey == NULL && form < 3; form++) {
		BIO *in = BIO_new_mem_buf(text, bytes > INT_MAX ? 0 : (int)bytes);
		CHECK(in != NULL);
		if (form == 0)
			pkey = PEM_read_bio_PUBKEY(in, NULL, no_pass_phrase, NULL);
		else if (form == 1)
			pkey = PEM_read_bio_PrivateKey(in, NULL, no_pass_phrase, NULL);
		else
			pkey = read_certificate(in);
		is_private = form == 1;
		BIO_free(in);
	}
	return key_of(pkey, is_private, id, fault);
}

/* Makes a public key of OpenSSL's type `type`. NULL: the numbers are not one. Ends `builder`. */
static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder)
{
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (parameters == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	return pkey;
}

struct key *key_of_rsa(const uint8_t *n, size_t n_bytes, const uint8_t *e, size_t e_bytes,
		       const char *id, const char **fault)
{
	*fault = "the numbers n and e are no RSA key";
	if (n_bytes > KEY_RSA_MAX_BITS / 8 + 1 || e_bytes > 8)
		return NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	BIGNUM *modulus = BN_bin2bn(n, (int)n_bytes, NULL);
	BIGNUM *exponent = BN_bin2bn(e, (int)e_bytes, NULL);
	CHECK(builder != NULL && modulus != NULL && exponent != NULL);
	CHECK(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
	      OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1);
	bool odd = BN_is_odd(exponent) && !BN_is_one(exponent) && BN_is_odd(modulus);
	EVP_PKEY *pkey = build("RSA", builder);
	BN_free(modulus);
	BN_free(exponent);
	if (!odd) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	return key_of(pkey, false, id, fault);
}

struct key *key_of_ec(const char *curve, const uint8_t *x, size_t x_bytes, const uint8_t *y,
		      size_t y_bytes, const char *id, const char **fault)
{
	uint8_t point[1 + 2 * COORDINATE_MAX_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
	size_t i = 0;

	*fault = "a key on a curve other than P-256, P-384 and P-521";
	while (i < CURVES && strcmp(curve, curves[i].name) != 0)
		i++;
	if (i == CURVES)
		return NULL;
	*fault = "the numbers x and y are no point of the curve";
	size_t bytes = curves[i].coordinate_bytes;
	if (x_bytes != bytes || y_bytes != bytes)
		return NULL;
	memcpy(point + 1, x, bytes);
	memcpy(point + 1 + bytes, y, bytes);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	CHECK(builder != NULL);
	CHECK(OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group,
					      0) == 1 &&
	      OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
					       1 + 2 * bytes) == 1);
	return key_of(build("EC", builder), false, id, fault);
}

struct key *key_of_ed25519(const uint8_t *x, size_t bytes, const char *id, const char **fault)
{
	*fault = "x is no Ed25519 key";
	return key_of(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, bytes), false, id,
		      fault);
}

/* --- use --- */

const char *key_id(const struct key *k)
{
	return k->id;
}

bool key_is_secret(const struct key *k)
{
	return k->pkey == NULL;
}

bool key_can_sign(const struct key *k)
{
	return k->pkey == NULL || k->sign.at != NULL;
}

bool key_serves(const struct key *k, enum key_algorithm a)
{
	return (k->algorithms & BIT(a)) != 0;
}

bool key_restrict(struct key *k, enum key_algorithm a)
{
	k->algorithms &= BIT(a);
	return k->algorithms != 0;
}

const unsigned char *key_to_check(const struct key *k, size_t *bytes)
{
	*bytes = k->check.bytes;
	return k->check.at;
}

const unsigned char *key_to_sign(const struct key *k, size_t *bytes)
{
	const struct text *t = k->pkey == NULL ? &k->check : &k->sign;

	*bytes = t->bytes;
	return t->at;
}

size_t key_mac(const struct key *k, enum key_algorithm a, const void *data, size_t bytes,
	       uint8_t *out)
{
	const EVP_MD *digest = a == KEY_HS256	? EVP_sha256()
			       : a == KEY_HS384 ? EVP_sha384()
						: EVP_sha512();
	unsigned mac_bytes = 0;

	CHECK(k->pkey == NULL && k->check.bytes <= INT_MAX);
	if (HMAC(digest, k->check.at, (int)k->check.bytes, data, bytes, out, &mac_bytes) == NULL)
		return 0;
	return mac_bytes;
}

bool key_sign_ed25519(const struct key *k, const void *data, size_t bytes, uint8_t *signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t signature_bytes = KEY_ED25519_BYTES;

	bool signed_it = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
			 EVP_DigestSign(ctx, signature, &signature_bytes, data, bytes) == 1;
	EVP_MD_CTX_free(ctx);
	return signed_it;
}

bool key_verify_ed25519(const struct key *k, const void *data, size_t bytes,
			const uint8_t *signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	bool good = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
		    EVP_DigestVerify(ctx, signature, KEY_ED25519_BYTES, data, bytes) == 1;
	EVP_MD_CTX_free(ctx);
	return good;
}

bool key_equal_bytes(const void *a, const void *b, size_t bytes)
{
	return CRYPTO_memcmp(a, b, bytes) == 0;
}
