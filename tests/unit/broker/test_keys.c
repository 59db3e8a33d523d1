/* Keys of all kinds: what they sign, a token of them opens a tunnel; in files as an operator or an
 * issuer writes them. */
#include "broker/auth.h"
#include "common/b64.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

enum { NOW_S = 1700000000 };

static const int64_t NOW_MS = INT64_C(1000) * NOW_S;

static char directory[] = "/tmp/pipegate-keys-XXXXXX";
static char fault[600];

static struct config config = {
	.jwt_issuer = "pipegate",
	.jwt_audience = "pipegate",
	.jwt_ttl_days = 1,
};

static const char *path_of(const char *name)
{
	static char paths[4][200];
	static int next;

	next = (next + 1) % 4;
	snprintf(paths[next], sizeof paths[next], "%s/%s", directory, name);
	return paths[next];
}

static void write_text(const char *name, const char *text)
{
	FILE *out = fopen(path_of(name), "w");

	assert_non_null(out);
	assert_int_not_equal(fputs(text, out), EOF);
	assert_int_equal(fclose(out), 0);
}

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < KEY_ALGORITHM_COUNT; i++)
		config.jwt_algorithms[i] = (enum key_algorithm)i;
	config.jwt_algorithm_count = KEY_ALGORITHM_COUNT;
	return mkdtemp(directory) != NULL ? 0 : -1;
}

static int empty(void **state)
{
	char command[100];

	(void)state;
	config.jwt_secret = NULL;
	config.jwt_keys = NULL;
	snprintf(command, sizeof command, "rm -rf %s/*", directory);
	return system(command);
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(directory);
}

static EVP_PKEY *generate(enum key_algorithm a)
{
	static const char *const curves[] = {"P-256", "P-384", "P-521"};

	if (a == KEY_EdDSA)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (a >= KEY_ES256)
		return EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[a - KEY_ES256]);
	return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
}

static void write_pem(const char *name, const EVP_PKEY *pkey, bool private)
{
	FILE *out = fopen(path_of(name), "w");

	assert_non_null(out);
	if (private)
		assert_int_equal(PEM_write_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL), 1);
	else
		assert_int_equal(PEM_write_PUBKEY(out, pkey), 1);
	fclose(out);
}

static char *number_of(const EVP_PKEY *pkey, const char *name, int pad)
{
	BIGNUM *number = NULL;
	unsigned char bytes[600];
	size_t length;

	assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &number), 1);
	int count = pad ? pad : BN_num_bytes(number);
	assert_int_equal(BN_bn2binpad(number, bytes, count), count);
	BN_free(number);
	return b64_encode_url(bytes, (size_t)count, &length);
}

/* The key as a JWK, with `more` members. */
static char *jwk_of(const EVP_PKEY *pkey, enum key_algorithm a, const char *more)
{
	static const char *const curves[] = {"P-256", "P-384", "P-521"};
	static const int coordinates[] = {32, 48, 66};
	char *text = NULL, *first, *second = NULL;

	if (a == KEY_EdDSA) {
		unsigned char raw[32];
		size_t bytes = sizeof raw, length;
		assert_int_equal(EVP_PKEY_get_raw_public_key(pkey, raw, &bytes), 1);
		first = b64_encode_url(raw, bytes, &length);
		assert_true(asprintf(&text, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}",
				     first, more) > 0);
	} else if (a >= KEY_ES256) {
		int i = a - KEY_ES256;
		first = number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_X, coordinates[i]);
		second = number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, coordinates[i]);
		assert_true(asprintf(&text,
				     "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}",
				     curves[i], first, second, more) > 0);
	} else {
		first = number_of(pkey, OSSL_PKEY_PARAM_RSA_N, 0);
		second = number_of(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
		assert_true(asprintf(&text, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", first,
				     second, more) > 0);
	}
	free(first);
	free(second);
	return text;
}

static void write_jwks(const char *name, const char *first, const char *second)
{
	char *text = NULL;

	assert_true(asprintf(&text, "{\"keys\":[%s%s%s]}", first, second ? "," : "",
			     second ? second : "") > 0);
	write_text(name, text);
	free(text);
}

static enum auth_result check_with(const struct keyring *keys, const char *token)
{
	const struct auth auth = {.config = &config, .keys = keys};
	struct auth_grant grant;

	return auth_check(&auth, token, strlen(token), NULL, NOW_MS, &grant);
}

/* What a ring of the files in the directory says of the token. */
static enum auth_result check(const char *token)
{
	config.jwt_keys = directory;
	struct keyring *keys = keyring_load(&config, fault, sizeof fault);

	if (keys == NULL)
		fail_msg("%s", fault);
	enum auth_result result = check_with(keys, token);
	keyring_free(&keys);
	return result;
}

static char *mint(const char *signer_name, enum key_algorithm a)
{
	struct key *signer = keyring_load_signer(path_of(signer_name), fault, sizeof fault);

	if (signer == NULL)
		fail_msg("%s", fault);
	assert_true(key_serves(signer, a));
	char *token = auth_mint(&config, signer, a, "my-app", NOW_S);
	assert_non_null(token);
	key_free(&signer);
	return token;
}

/* Every algorithm with a public key, given as PEM and as JWK; no other key accepts its token, and
 * no changed character passes. */
static void test_public_keys(void **state)
{
	for (enum key_algorithm a = KEY_RS256; a < KEY_ALGORITHM_COUNT; a++) {
		EVP_PKEY *pkey = generate(a), *other = generate(a);
		char *jwk = jwk_of(pkey, a, ",\"kid\":\"signer\""),
		     *jwk_other = jwk_of(other, a, ",\"kid\":\"signer\"");

		(void)empty(state);
		write_pem("signer", pkey, true);
		char *token = mint("signer", a);
		write_pem("signer.pem", pkey, false);
		assert_int_equal(check(token), AUTH_OK);
		write_pem("signer.pem", pkey, true); /* a private key checks too */
		assert_int_equal(check(token), AUTH_OK);
		write_pem("signer.pem", other, false);
		assert_int_equal(check(token), AUTH_INVALID);
		unlink(path_of("signer.pem"));
		write_jwks("set.json", jwk, NULL);
		assert_int_equal(check(token), AUTH_OK);
		write_jwks("set.json", jwk_other, jwk);
		assert_int_equal(check(token), AUTH_OK);
		write_jwks("set.json", jwk_other, NULL);
		assert_int_equal(check(token), AUTH_INVALID);
		write_jwks("set.json", jwk, NULL);
		struct keyring *keys = keyring_load(&config, fault, sizeof fault);
		assert_non_null(keys);
		/* Not the last one, some of whose bits may be unused (RFC 4648 3.5). */
		for (char *at = token; at[1] != '\0'; at++) {
			char was = *at;
			*at = was == 'A' ? 'B' : 'A';
			if (check_with(keys, token) == AUTH_OK)
				fail_msg("%s, character %td", key_algorithm_name(a), at - token);
			*at = was;
		}
		keyring_free(&keys);
		free(token);
		free(jwk);
		free(jwk_other);
		EVP_PKEY_free(pkey);
		EVP_PKEY_free(other);
	}
}

/* RFC 8725 3.1: the public key, which everybody knows, is no HMAC secret. */
static void test_public_key_is_no_secret(void **state)
{
	EVP_PKEY *pkey = generate(KEY_RS256);

	(void)state;
	write_pem("k.pem", pkey, false);
	char pem[2000] = "";
	FILE *in = fopen(path_of("k.pem"), "r");
	assert_non_null(in);
	size_t bytes = fread(pem, 1, sizeof pem - 1, in);
	fclose(in);
	struct key *secret = key_of_secret(pem, bytes, "k");
	for (enum key_algorithm a = KEY_HS256; a <= KEY_HS512; a++) {
		char *token = auth_mint(&config, secret, a, "my-app", NOW_S);
		assert_int_equal(check(token), AUTH_INVALID);
		free(token);
	}
	key_free(&secret);
	EVP_PKEY_free(pkey);
}

/* Rotation: the new key signs, the old one still checks; then it is taken away. */
static void test_several_keys(void **state)
{
	EVP_PKEY *old = generate(KEY_ES256), *new = generate(KEY_EdDSA);

	(void)state;
	config.jwt_secret = "a secret for tests";
	struct key *secret = key_of_secret(config.jwt_secret, strlen(config.jwt_secret), "");
	char *by_secret = auth_mint(&config, secret, KEY_HS256, "my-app", NOW_S);
	write_pem("2025", old, true);
	write_pem("2026", new, true);
	char *by_old = mint("2025", KEY_ES256), *by_new = mint("2026", KEY_EdDSA);
	write_pem("2025.pem", old, false);
	assert_int_equal(check(by_old), AUTH_OK);
	assert_int_equal(check(by_new), AUTH_INVALID);
	write_pem("2026.pem", new, false);
	assert_int_equal(check(by_secret), AUTH_OK);
	assert_int_equal(check(by_old), AUTH_OK);
	assert_int_equal(check(by_new), AUTH_OK);
	unlink(path_of("2025.pem"));
	assert_int_equal(check(by_old), AUTH_INVALID);
	assert_int_equal(check(by_new), AUTH_OK);
	/* The kid chooses: the same key of another name did not sign it. */
	assert_int_equal(rename(path_of("2026.pem"), path_of("2027.pem")), 0);
	assert_int_equal(check(by_new), AUTH_INVALID);
	/* Only what PIPEGATE_JWT_ALGORITHMS allows. */
	assert_int_equal(rename(path_of("2027.pem"), path_of("2026.pem")), 0);
	config.jwt_algorithm_count = KEY_EdDSA;
	assert_int_equal(check(by_new), AUTH_INVALID);
	config.jwt_algorithm_count = KEY_ALGORITHM_COUNT;
	assert_int_equal(check(by_new), AUTH_OK);
	key_free(&secret);
	free(by_secret);
	free(by_old);
	free(by_new);
	EVP_PKEY_free(old);
	EVP_PKEY_free(new);
}

/* Tokens of an issuer's key that are for another service, such as the app behind a tunnel, are not
 * ours; those of our secret always are. */
static void test_ours(void **state)
{
	EVP_PKEY *pkey = generate(KEY_EdDSA);

	(void)state;
	write_pem("k", pkey, true);
	write_pem("k.pem", pkey, false);
	config.jwt_keys = directory;
	struct keyring *keys = keyring_load(&config, fault, sizeof fault);
	const struct auth auth = {.config = &config, .keys = keys};
	char *token = mint("k", KEY_EdDSA);
	assert_true(auth_is_ours(&auth, token, strlen(token)));
	free(token);
	config.jwt_audience = "the-app";
	token = mint("k", KEY_EdDSA);
	config.jwt_audience = "pipegate";
	assert_false(auth_is_ours(&auth, token, strlen(token)));
	free(token);
	keyring_free(&keys);
	EVP_PKEY_free(pkey);
}

/* RFC 8037, appendix A: a key and a signature that others have made. */
static void test_known_signature(void **state)
{
	static const char x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
	static const char text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
	static const char signature[] = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4i"
					"ylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
	size_t bytes;
	const char *why;

	(void)state;
	uint8_t *raw = b64_decode_url(x, strlen(x), &bytes);
	struct key *k = key_of_ed25519(raw, bytes, "", &why);
	assert_non_null(k);
	free(raw);
	raw = b64_decode_url(signature, strlen(signature), &bytes);
	assert_int_equal(bytes, KEY_ED25519_BYTES);
	assert_true(key_verify_ed25519(k, text, strlen(text), raw));
	assert_false(key_verify_ed25519(k, text, strlen(text) - 1, raw));
	free(raw);
	assert_false(key_can_sign(k));
	key_free(&k);
}

/* One file; the fault if it is broken. */
static void test_broken_files(void **state)
{
	static const struct {
		const char *name, *text, *fault;
	} rows[] = {
		{"a.pem", "", "no key in PEM form"},
		{"a.pem", "hello", "no key in PEM form"},
		{"a.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		 "no key in PEM form"},
		{"a.json", "{", "line 1:"},
		{"a.json", "{\"keys\":{}}", "no JWK Set"},
		{"a.json", "{\"keys\":[1]}", "key 1: not an object with a kty"},
		{"a.json", "{\"keys\":[{\"kty\":5}]}", "key 1: not an object with a kty"},
		{"a.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "key 1: k is not"},
		{"a.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA AA\"}]}", "key 1: k is not"},
		{"a.json", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
		 "key 1: an RSA key of less than 2048"},
		{"a.json", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}",
		 "key 1: a number is missing"},
		{"a.json",
		 "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}]}",
		 "key 1: the numbers x and y"},
		{"a.json", "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}]}",
		 "key 1: x is no Ed25519 key"},
		{"a.json", "{\"keys\":[]}", "no key"},
		{"a.json", "{\"kty\":\"oct\",\"kid\":7,\"k\":\"AAAA\"}", "its kid is not a text"},
		{"a.json",
		 "{\"kty\":\"oct\",\"alg\":\"RS256\","
		 "\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
		 "its alg is not one of its type"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		(void)empty(state);
		write_text(rows[i].name, rows[i].text);
		config.jwt_keys = path_of(rows[i].name);
		struct keyring *keys = keyring_load(&config, fault, sizeof fault);
		if (keys != NULL || strstr(fault, rows[i].fault) == NULL ||
		    (strcmp(rows[i].fault, "no key") != 0 && strstr(fault, rows[i].name) == NULL))
			fail_msg("row %zu: %s: %s", i, rows[i].text, keys ? "read" : fault);
	}
	(void)empty(state);
	config.jwt_keys = "/nowhere/at/all";
	assert_null(keyring_load(&config, fault, sizeof fault));
	assert_string_equal(fault, "/nowhere/at/all: No such file or directory");
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	config.jwt_keys = path_of("fifo");
	assert_null(keyring_load(&config, fault, sizeof fault));
	assert_non_null(strstr(fault, "not a file"));
	config.jwt_keys = directory; /* nothing with a name of a key file */
	assert_null(keyring_load(&config, fault, sizeof fault));
	assert_non_null(strstr(fault, "no key"));
}

/* An issuer's set has keys for others too. */
static void test_skipped_keys(void **state)
{
	EVP_PKEY *pkey = generate(KEY_ES256);
	char *jwk = jwk_of(pkey, KEY_ES256, ",\"kid\":\"k\",\"use\":\"sig\",\"alg\":\"ES256\"");
	static const char *const others[] = {
		"{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AQAB\",\"y\":\"AQAB\"}",
		"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AQAB\"}",
		"{\"kty\":\"AKP\",\"kid\":\"post-quantum\"}",
		"{\"kty\":\"oct\",\"key_ops\":[\"encrypt\"],\"k\":\"AQAB\"}",
	};

	(void)state;
	write_pem("k", pkey, true);
	char *token = mint("k", KEY_ES256);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		write_jwks("set.jwks", others[i], jwk);
		assert_int_equal(check(token), AUTH_OK);
	}
	free(token);
	free(jwk);
	EVP_PKEY_free(pkey);
}

static void test_too_many_keys(void **state)
{
	static const char key[] = "{\"kty\":\"oct\",\"k\":"
				  "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
	char text[8000] = "{\"keys\":[";

	(void)state;
	for (int i = 0; i <= KEYRING_KEYS_MAX; i++) {
		strcat(text, i ? "," : "");
		strcat(text, key);
	}
	strcat(text, "]}");
	write_text("set.json", text);
	config.jwt_keys = path_of("set.json");
	assert_null(keyring_load(&config, fault, sizeof fault));
	assert_non_null(strstr(fault, "too many keys"));
}

static void test_signers(void **state)
{
	EVP_PKEY *pkey = generate(KEY_ES256);

	(void)state;
	write_pem("public.pem", pkey, false);
	assert_null(keyring_load_signer(path_of("public.pem"), fault, sizeof fault));
	assert_non_null(strstr(fault, "a public key cannot sign"));
	assert_null(keyring_load_signer(path_of("none.pem"), fault, sizeof fault));
	assert_non_null(strstr(fault, "No such file"));
	EVP_PKEY_free(pkey);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, empty)
	const struct CMUnitTest tests[] = {
		TEST(test_public_keys),	    TEST(test_public_key_is_no_secret),
		TEST(test_several_keys),    TEST(test_ours),
		TEST(test_known_signature), TEST(test_broken_files),
		TEST(test_skipped_keys),    TEST(test_too_many_keys),
		TEST(test_signers),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
