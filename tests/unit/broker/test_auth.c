/* Tokens: only ours, in time, for this issuer and audience, open a tunnel. */
#include "broker/auth.h"

#include "common/b64.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum { NOW_S = 1700000000, DAY_S = 24 * 3600 };

static const int64_t NOW_MS = INT64_C(1000) * NOW_S, DAY_MS = INT64_C(1000) * DAY_S;

static const char secret[] = "a secret for tests";

static const struct config config = {
	.jwt_secret = secret,
	.jwt_algorithms = {JWT_HS256, JWT_HS512},
	.jwt_algorithm_count = 2,
	.jwt_issuer = "pipegate",
	.jwt_audience = "pipegate",
	.jwt_ttl_days = 21,
};

static enum auth_result check(const char *token, struct auth_grant *grant)
{
	return auth_check(&config, token, strlen(token), NOW_MS, grant);
}

static void put_base64url(char *out, const void *data, size_t bytes)
{
	size_t length;
	char *text = b64_encode(data, bytes, &length);

	for (char *at = text; *at != '\0'; at++) {
		if (*at == '+')
			*at = '-';
		else if (*at == '/')
			*at = '_';
	}
	text[strcspn(text, "=")] = '\0';
	strcat(out, text);
	free(text);
}

/* A token of this header and these claims. `digest` NULL: the signature is empty. */
static const char *token_of(const char *header, const char *claims, const EVP_MD *digest,
			    const char *key)
{
	static char token[4096];
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_bytes = 0;

	*token = '\0';
	put_base64url(token, header, strlen(header));
	strcat(token, ".");
	put_base64url(token, claims, strlen(claims));
	if (digest != NULL)
		HMAC(digest, key, (int)strlen(key), (const unsigned char *)token, strlen(token),
		     mac, &mac_bytes);
	strcat(token, ".");
	put_base64url(token, mac, mac_bytes);
	return token;
}

#define HEADER "{\"typ\":\"JWT\",\"alg\":\"HS256\"}"
#define CLAIMS                                                                                     \
	"{\"sub\":\"my-app\",\"exp\":1700000001,\"nbf\":1700000000,\"iss\":\"pipegate\","          \
	"\"aud\":\"pipegate\"}"

static void test_minted(void **state)
{
	char *token = auth_mint(&config, "my-app", NOW_S);
	struct auth_grant grant;

	(void)state;
	assert_non_null(token);
	assert_int_equal(check(token, &grant), AUTH_OK);
	assert_string_equal(grant.connection_id, "my-app");
	assert_int_equal(grant.life_ms, 21 * DAY_MS);

	size_t bytes = strlen(token);
	assert_int_equal(auth_check(&config, token, bytes, NOW_MS + 21 * DAY_MS - 1, &grant),
			 AUTH_OK);
	assert_int_equal(grant.life_ms, 1);
	*grant.connection_id = '\0';
	assert_int_equal(auth_check(&config, token, bytes, NOW_MS + 21 * DAY_MS, &grant),
			 AUTH_EXPIRED);
	assert_string_equal(grant.connection_id, "my-app");
	for (size_t cut = 0; cut < bytes; cut++)
		assert_int_not_equal(auth_check(&config, token, cut, NOW_MS, &grant), AUTH_OK);
	free(token);
}

/* The broker's clock is behind the one that minted: by up to a minute that is no reason to
 * refuse. */
static void test_clocks_apart(void **state)
{
	char *token = auth_mint(&config, "my-app", NOW_S);
	size_t bytes = strlen(token);
	struct auth_grant grant;

	(void)state;
	assert_int_equal(auth_check(&config, token, bytes, NOW_MS - 2000, &grant), AUTH_OK);
	assert_int_equal(grant.life_ms, 21 * DAY_MS + 2000);
	assert_int_equal(auth_check(&config, token, bytes, NOW_MS - 60000, &grant), AUTH_OK);
	*grant.connection_id = '\0';
	assert_int_equal(auth_check(&config, token, bytes, NOW_MS - 60001, &grant), AUTH_EARLY);
	assert_string_equal(grant.connection_id, "my-app");
	assert_string_equal(auth_reason(AUTH_EARLY), "Token not yet valid");
	free(token);
}

/* Every single changed character makes it invalid. */
static void test_forged(void **state)
{
	char *token = auth_mint(&config, "my-app", NOW_S);
	struct auth_grant grant;

	(void)state;
	for (char *at = token; *at != '\0'; at++) {
		char was = *at;
		*at = was == 'A' ? 'B' : 'A';
		assert_int_not_equal(check(token, &grant), AUTH_OK);
		*at = was;
	}
	assert_int_equal(check(token, &grant), AUTH_OK);
	free(token);
	assert_int_equal(check(token_of(HEADER, CLAIMS, EVP_sha256(), secret), &grant), AUTH_OK);
	assert_int_equal(check(token_of(HEADER, CLAIMS, EVP_sha256(), "another"), &grant),
			 AUTH_INVALID);
}

static void test_algorithms(void **state)
{
	const struct {
		const char *header;
		const EVP_MD *digest;
		enum auth_result result;
	} rows[] = {
		{"{\"alg\":\"HS256\"}", EVP_sha256(), AUTH_OK},
		{"{\"alg\":\"HS512\"}", EVP_sha512(), AUTH_OK},
		/* not allowed here */
		{"{\"alg\":\"HS384\"}", EVP_sha384(), AUTH_INVALID},
		/* none, however it is written or signed */
		{"{\"alg\":\"none\"}", NULL, AUTH_INVALID},
		{"{\"alg\":\"None\"}", NULL, AUTH_INVALID},
		{"{\"alg\":\"none\"}", EVP_sha256(), AUTH_INVALID},
		{"{}", NULL, AUTH_INVALID},
		{"{}", EVP_sha256(), AUTH_INVALID},
		/* says one thing and is signed with another */
		{"{\"alg\":\"HS512\"}", EVP_sha256(), AUTH_INVALID},
		{"{\"alg\":\"HS256\"}", EVP_sha512(), AUTH_INVALID},
		{"{\"alg\":\"RS256\"}", EVP_sha256(), AUTH_INVALID},
		{"{\"alg\":\"ES256\"}", EVP_sha256(), AUTH_INVALID},
		{"{\"alg\":1}", EVP_sha256(), AUTH_INVALID},
		{"{\"alg\":\"hs256\"}", EVP_sha256(), AUTH_INVALID},
		{"{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", EVP_sha256(), AUTH_INVALID},
		{"[]", EVP_sha256(), AUTH_INVALID},
		{"", EVP_sha256(), AUTH_INVALID},
	};
	struct auth_grant grant;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *token = token_of(rows[i].header, CLAIMS, rows[i].digest, secret);
		enum auth_result got = check(token, &grant);
		if (got != rows[i].result)
			fail_msg("row %zu, %s: %d", i, rows[i].header, got);
	}
}

/* CLAIMS with one of its members replaced. */
static enum auth_result check_claim(const char *from, const char *to)
{
	char claims[1024];
	struct auth_grant grant;
	const char *at = strstr(CLAIMS, from);

	assert_non_null(at);
	snprintf(claims, sizeof claims, "%.*s%s%s", (int)(at - CLAIMS), CLAIMS, to,
		 at + strlen(from));
	return check(token_of(HEADER, claims, EVP_sha256(), secret), &grant);
}

static void test_claims(void **state)
{
	static const struct {
		const char *from, *to;
		enum auth_result result;
	} rows[] = {
		{"\"my-app\"",
		 "\"0123456789012345678901234567890123456789012345678901234567890123\"", AUTH_OK},
		{"\"my-app\"",
		 "\"01234567890123456789012345678901234567890123456789012345678901234\"",
		 AUTH_INVALID},
		{"\"my-app\"", "\"\"", AUTH_INVALID},
		{"\"my-app\"", "\"a/b\"", AUTH_INVALID},
		{"\"my-app\"", "\"a b\"", AUTH_INVALID},
		{"\"my-app\"", "\"../x\"", AUTH_INVALID},
		{"\"my-app\"", "\"my-app\\u0000\"", AUTH_INVALID},
		{"\"my-app\"", "\"healthz\"", AUTH_INVALID},
		{"\"my-app\"", "1", AUTH_INVALID},
		{"\"my-app\"", "null", AUTH_INVALID},
		{"\"sub\"", "\"subject\"", AUTH_INVALID},
		{"1700000001", "1700000000", AUTH_EXPIRED},
		{"1700000001", "1700000000.9", AUTH_EXPIRED},
		{"1700000001", "1700000001.5", AUTH_OK},
		{"1700000001", "\"1700000001\"", AUTH_INVALID},
		{"1700000001", "1e300", AUTH_INVALID},
		{"1700000001", "-1e300", AUTH_INVALID},
		{"1700000001", "-1", AUTH_EXPIRED},
		{"\"exp\"", "\"expires\"", AUTH_INVALID},
		{"1700000000", "1700000060", AUTH_OK},
		{"1700000000", "1700000061", AUTH_EARLY},
		{"1700000000", "1e14", AUTH_EARLY},
		{"1700000000", "1e300", AUTH_INVALID},
		{"1700000000", "\"now\"", AUTH_INVALID},
		{"1700000000", "null", AUTH_INVALID},
		{"\"nbf\"", "\"iat\":1700000060,\"nbf\"", AUTH_OK},
		{"\"nbf\"", "\"iat\":1700000061,\"nbf\"", AUTH_EARLY},
		{"\"nbf\"", "\"iat\":-1,\"nbf\"", AUTH_OK},
		{"\"nbf\"", "\"iat\":\"1700000000\",\"nbf\"", AUTH_INVALID},
		{"\"nbf\"", "\"iat\":true,\"nbf\"", AUTH_INVALID},
		/* expired as well: the client need not wait for it */
		{"\"exp\":1700000001,\"nbf\":1700000000", "\"exp\":1700000000,\"nbf\":1800000000",
		 AUTH_EXPIRED},
		{"\"nbf\"", "\"not\"", AUTH_OK},
		{"\"iss\":\"pipegate\"", "\"iss\":\"pipegate2\"", AUTH_INVALID},
		{"\"iss\":\"pipegate\"", "\"iss\":[\"pipegate\"]", AUTH_INVALID},
		{"\"aud\":\"pipegate\"", "\"aud\":\"other\"", AUTH_INVALID},
		{"\"aud\":\"pipegate\"", "\"aud\":[\"other\",\"pipegate\"]", AUTH_OK},
		{"\"aud\":\"pipegate\"", "\"aud\":[\"other\",1]", AUTH_INVALID},
		{"\"aud\":\"pipegate\"", "\"aud\":[]", AUTH_INVALID},
		{"\"aud\":\"pipegate\"", "\"aud\":{\"pipegate\":1}", AUTH_INVALID},
		{"}", "", AUTH_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum auth_result got = check_claim(rows[i].from, rows[i].to);
		if (got != rows[i].result)
			fail_msg("%s instead of %s: %d", rows[i].to, rows[i].from, got);
	}
}

/* Signed with our secret, whatever it says: not for an app's eyes. */
static void test_ours(void **state)
{
	static const struct {
		const char *claims, *key;
		bool ours;
	} rows[] = {
		{"{}", secret, true},
		{"{\"sub\":\"abc\",\"exp\":1}", secret, true},
		{"{\"sub\":\"abc\",\"iss\":\"elsewhere\"}", secret, true},
		{"{\"sub\":\"abc\"}", "another", false},
		{"{\"sub\":\"abc\"}", "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *token = token_of(HEADER, rows[i].claims, EVP_sha256(), rows[i].key);
		assert_int_equal(auth_is_ours(&config, token, strlen(token)), rows[i].ours);
	}
	const char *token = token_of(HEADER, "{}", EVP_sha512(), secret);
	assert_true(auth_is_ours(&config, token, strlen(token)));
	token = token_of(HEADER, "{}", EVP_sha384(), secret); /* not allowed: no tunnel's token */
	assert_false(auth_is_ours(&config, token, strlen(token)));
	token = token_of(HEADER, "{}", NULL, NULL);
	assert_false(auth_is_ours(&config, token, strlen(token)));
	assert_false(auth_is_ours(&config, "", 0));
	assert_false(auth_is_ours(&config, "of-the-app", 10));
}

static void test_no_token(void **state)
{
	static const char *const texts[] = {".",     "..",	"...",	 "a",  "a.b",
					    "a.b.c", "a.b.c.d", ".e30.", "\n", "\xff.\xff.\xff"};
	static char long_text[AUTH_TOKEN_MAX_BYTES + 2];
	struct auth_grant grant;

	(void)state;
	assert_int_equal(check("", &grant), AUTH_MISSING);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_int_equal(check(texts[i], &grant), AUTH_INVALID);
	memset(long_text, 'a', sizeof long_text - 1);
	assert_int_equal(check(long_text, &grant), AUTH_INVALID);
	assert_int_equal(auth_check(&config, "a\0b", 3, NOW_MS, &grant), AUTH_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_minted), cmocka_unit_test(test_clocks_apart),
		cmocka_unit_test(test_forged), cmocka_unit_test(test_algorithms),
		cmocka_unit_test(test_claims), cmocka_unit_test(test_no_token),
		cmocka_unit_test(test_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
