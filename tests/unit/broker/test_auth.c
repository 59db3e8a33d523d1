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
	.jwt_algorithms = {KEY_HS256, KEY_HS512},
	.jwt_algorithm_count = 2,
	.jwt_issuer = "pipegate",
	.jwt_audience = "pipegate",
	.jwt_ttl_days = 21,
};

static struct auth auth = {.config = &config};

static int set_up(void **state)
{
	char fault[200];

	(void)state;
	auth.keys = keyring_load(&config, fault, sizeof fault);
	return auth.keys != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	struct keyring *keys = (struct keyring *)auth.keys;

	(void)state;
	keyring_free(&keys);
	return 0;
}

static enum auth_result check(const char *token, struct auth_grant *grant)
{
	return auth_check(&auth, token, strlen(token), NULL, NOW_MS, grant);
}

static char *mint(void)
{
	struct key *signer = key_of_secret(secret, strlen(secret), "");
	char *token = auth_mint(&config, signer, KEY_HS256, "my-app", NOW_S);

	key_free(&signer);
	return token;
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
	char *token = mint();
	struct auth_grant grant;

	(void)state;
	assert_non_null(token);
	assert_int_equal(check(token, &grant), AUTH_OK);
	assert_string_equal(grant.connection_id, "my-app");
	assert_int_equal(grant.life_ms, 21 * DAY_MS);

	size_t bytes = strlen(token);
	assert_int_equal(auth_check(&auth, token, bytes, NULL, NOW_MS + 21 * DAY_MS - 1, &grant),
			 AUTH_OK);
	assert_int_equal(grant.life_ms, 1);
	*grant.connection_id = '\0';
	assert_int_equal(auth_check(&auth, token, bytes, NULL, NOW_MS + 21 * DAY_MS, &grant),
			 AUTH_EXPIRED);
	assert_string_equal(grant.connection_id, "my-app");
	for (size_t cut = 0; cut < bytes; cut++)
		assert_int_not_equal(auth_check(&auth, token, cut, NULL, NOW_MS, &grant), AUTH_OK);
	free(token);
}

/* The broker's clock is behind the one that minted: by up to a minute that is no reason to
 * refuse. */
static void test_clocks_apart(void **state)
{
	char *token = mint();
	size_t bytes = strlen(token);
	struct auth_grant grant;

	(void)state;
	assert_int_equal(auth_check(&auth, token, bytes, NULL, NOW_MS - 2000, &grant), AUTH_OK);
	assert_int_equal(grant.life_ms, 21 * DAY_MS + 2000);
	assert_int_equal(auth_check(&auth, token, bytes, NULL, NOW_MS - 60000, &grant), AUTH_OK);
	*grant.connection_id = '\0';
	assert_int_equal(auth_check(&auth, token, bytes, NULL, NOW_MS - 60001, &grant), AUTH_EARLY);
	assert_string_equal(grant.connection_id, "my-app");
	assert_string_equal(auth_reason(AUTH_EARLY), "Token not yet valid");
	free(token);
}

/* Every single changed character makes it invalid. */
static void test_forged(void **state)
{
	char *token = mint();
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
		assert_int_equal(auth_is_ours(&auth, token, strlen(token)), rows[i].ours);
	}
	const char *token = token_of("{\"alg\":\"HS512\"}", "{}", EVP_sha512(), secret);
	assert_true(auth_is_ours(&auth, token, strlen(token)));
	/* Not allowed here: no tunnel's token. */
	token = token_of("{\"alg\":\"HS384\"}", "{}", EVP_sha384(), secret);
	assert_false(auth_is_ours(&auth, token, strlen(token)));
	token = token_of(HEADER, "{}", NULL, NULL);
	assert_false(auth_is_ours(&auth, token, strlen(token)));
	assert_false(auth_is_ours(&auth, "", 0));
	assert_false(auth_is_ours(&auth, "of-the-app", 10));
}

/* The limits that a token sets, and the ids that it is for. */
static void test_limits(void **state)
{
	static const struct {
		const char *more;
		enum auth_result result;
		int64_t max_running, max_body_bytes;
	} rows[] = {
		{"", AUTH_OK, 0, 0},
		{",\"max_running\":1", AUTH_OK, 1, 0},
		{",\"max_running\":7,\"max_body\":1048576", AUTH_OK, 7, 1048576},
		{",\"max_running\":0", AUTH_INVALID, 0, 0},
		{",\"max_running\":-1", AUTH_INVALID, 0, 0},
		{",\"max_running\":1.5", AUTH_INVALID, 0, 0},
		{",\"max_running\":\"1\"", AUTH_INVALID, 0, 0},
		{",\"max_running\":null", AUTH_INVALID, 0, 0},
		{",\"max_body\":0", AUTH_INVALID, 0, 0},
		{",\"max_body\":1e3", AUTH_INVALID, 0, 0},
		{",\"jti\":\"x\",\"iat\":1700000000", AUTH_OK, 0, 0},
		{",\"jti\":5", AUTH_INVALID, 0, 0},
		{",\"ids\":[]", AUTH_OK, 0, 0},
		{",\"ids\":\"a\"", AUTH_INVALID, 0, 0},
		{",\"ids\":[1]", AUTH_INVALID, 0, 0},
		{",\"ids\":[\"a/b\"]", AUTH_INVALID, 0, 0},
		{",\"ids\":[\"*\"]", AUTH_INVALID, 0, 0},
		{",\"ids\":[\"a*b\"]", AUTH_INVALID, 0, 0},
		{",\"ids\":[\"\"]", AUTH_INVALID, 0, 0},
	};
	char claims[600];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct auth_grant grant = {0};
		snprintf(claims, sizeof claims, "%.*s%s}", (int)strlen(CLAIMS) - 1, CLAIMS,
			 rows[i].more);
		enum auth_result got =
			check(token_of(HEADER, claims, EVP_sha256(), secret), &grant);
		if (got != rows[i].result)
			fail_msg("%s: %d", rows[i].more, got);
		if (got != AUTH_OK)
			continue;
		assert_int_equal(grant.max_running, rows[i].max_running);
		assert_int_equal(grant.max_body_bytes, rows[i].max_body_bytes);
		assert_string_equal(grant.subject, "my-app");
	}
}

static void test_ids(void **state)
{
	static const struct {
		const char *id;
		enum auth_result result;
	} rows[] = {
		{NULL, AUTH_OK},
		{"my-app", AUTH_OK},
		{"other", AUTH_OK},
		{"team-1", AUTH_OK},
		{"team-", AUTH_OK},
		{"team", AUTH_OTHER_ID},
		{"Team-1", AUTH_OTHER_ID},
		{"other2", AUTH_OTHER_ID},
		{"othe", AUTH_OTHER_ID},
		{"my-app2", AUTH_OTHER_ID},
		{"xteam-1", AUTH_OTHER_ID},
	};
	char claims[600];

	(void)state;
	snprintf(claims, sizeof claims, "%.*s,\"ids\":[\"other\",\"team-*\"]}",
		 (int)strlen(CLAIMS) - 1, CLAIMS);
	const char *token = token_of(HEADER, claims, EVP_sha256(), secret);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct auth_grant grant = {0};
		enum auth_result got =
			auth_check(&auth, token, strlen(token), rows[i].id, NOW_MS, &grant);
		if (got != rows[i].result)
			fail_msg("%s: %d", rows[i].id, got);
		assert_string_equal(grant.connection_id, rows[i].id ? rows[i].id : "my-app");
		assert_string_equal(grant.subject, "my-app");
	}
	/* Without the claim, a token is for its sub alone. */
	struct auth_grant grant;
	token = token_of(HEADER, CLAIMS, EVP_sha256(), secret);
	assert_int_equal(auth_check(&auth, token, strlen(token), "team-1", NOW_MS, &grant),
			 AUTH_OTHER_ID);
}

static void test_revoked(void **state)
{
	char claims[600], fault[200];
	struct auth_grant grant;
	struct revocations *r = revocations_load(NULL, fault, sizeof fault);
	struct auth with = auth;

	(void)state;
	assert_non_null(r);
	with.revocations = r;
	snprintf(claims, sizeof claims, "%.*s,\"jti\":\"abc\",\"iat\":1700000000}",
		 (int)strlen(CLAIMS) - 1, CLAIMS);
	const char *token = token_of(HEADER, claims, EVP_sha256(), secret);
#define CHECK_NOW() auth_check(&with, token, strlen(token), NULL, NOW_MS, &grant)
	assert_int_equal(CHECK_NOW(), AUTH_OK);
	assert_true(revocations_add_token(r, "abd", fault, sizeof fault));
	assert_true(revocations_add_subject(r, "my-app", NOW_S, fault, sizeof fault));
	assert_true(revocations_add_subject(r, "my-app2", NOW_S + 1, fault, sizeof fault));
	assert_int_equal(CHECK_NOW(), AUTH_OK);
	assert_true(revocations_add_token(r, "abc", fault, sizeof fault));
	assert_int_equal(CHECK_NOW(), AUTH_REVOKED);
	assert_string_equal(auth_reason(AUTH_REVOKED), "Token revoked");
	assert_string_equal(grant.connection_id, "my-app");
	revocations_free(&r);
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
	assert_int_equal(auth_check(&auth, "a\0b", 3, NULL, NOW_MS, &grant), AUTH_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_minted), cmocka_unit_test(test_clocks_apart),
		cmocka_unit_test(test_forged), cmocka_unit_test(test_algorithms),
		cmocka_unit_test(test_claims), cmocka_unit_test(test_no_token),
		cmocka_unit_test(test_ours),   cmocka_unit_test(test_limits),
		cmocka_unit_test(test_ids),    cmocka_unit_test(test_revoked),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
