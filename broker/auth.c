/* broker/auth.c - see auth.h.
 *
 * libjwt 1.10 compares signatures with strcmp(), whose duration reveals how many bytes match
 * (CVE-2024-25189), and uses the algorithm that the token names. So signature_ok() runs first: it
 * computes the HMAC of each allowed algorithm and compares in constant time. libjwt only parses
 * tokens that were signed with our secret. */
#include "broker/auth.h"

#include "common/id.h"

#include <jansson.h>
#include <jwt.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	jwt_alg_t jwt;
	const EVP_MD *(*digest)(void);
} hmacs[] = {
	[JWT_HS256] = {JWT_ALG_HS256, EVP_sha256},
	[JWT_HS384] = {JWT_ALG_HS384, EVP_sha384},
	[JWT_HS512] = {JWT_ALG_HS512, EVP_sha512},
};

/* Writes base64url without padding (RFC 7515 2) of at most 64 bytes; `out` has 96. Returns the
 * length. */
static size_t base64url(const unsigned char *in, size_t bytes, char *out)
{
	size_t length = (size_t)EVP_EncodeBlock((unsigned char *)out, in, (int)bytes);

	while (length > 0 && out[length - 1] == '=')
		length--;
	for (size_t i = 0; i < length; i++) {
		if (out[i] == '+')
			out[i] = '-';
		else if (out[i] == '/')
			out[i] = '_';
	}
	return length;
}

/* True if the signature matches for an allowed algorithm; *out is libjwt's name for it. */
static bool signature_ok(const struct config *c, const char *token, jwt_alg_t *out)
{
	const char *dot = strrchr(token, '.');
	bool found = false;

	if (dot == NULL)
		return false;
	size_t signature_bytes = strlen(dot + 1);
	for (size_t i = 0; i < c->jwt_algorithm_count; i++) {
		unsigned char mac[EVP_MAX_MD_SIZE];
		unsigned mac_bytes = 0;
		char text[EVP_MAX_MD_SIZE * 2];
		if (HMAC(hmacs[c->jwt_algorithms[i]].digest(), c->jwt_secret,
			 (int)strlen(c->jwt_secret), (const unsigned char *)token,
			 (size_t)(dot - token), mac, &mac_bytes) == NULL)
			return false;
		size_t text_bytes = base64url(mac, mac_bytes, text);
		if (text_bytes == signature_bytes &&
		    CRYPTO_memcmp(text, dot + 1, text_bytes) == 0) {
			*out = hmacs[c->jwt_algorithms[i]].jwt;
			found = true;
		}
	}
	return found;
}

/* Reads a NumericDate (RFC 7519 2), an integer or a fraction, and rounds it down. */
static bool numeric_date(const json_t *claims, const char *name, int64_t *out)
{
	const json_t *value = json_object_get(claims, name);

	if (!json_is_number(value))
		return false;
	double seconds = floor(json_number_value(value));
	if (!(seconds >= -1e15 && seconds <= 1e15))
		return false;
	*out = (int64_t)seconds;
	return true;
}

static bool text_is(const json_t *value, const char *want)
{
	const char *text = json_string_value(value);

	return text != NULL && json_string_length(value) == strlen(want) &&
	       memcmp(text, want, strlen(want)) == 0;
}

/* True if "aud", a string or a list of strings (RFC 7519 4.1.3), has `want`. */
static bool audience_ok(const json_t *aud, const char *want)
{
	if (text_is(aud, want))
		return true;
	for (size_t i = 0; i < json_array_size(aud); i++) {
		if (text_is(json_array_get(aud, i), want))
			return true;
	}
	return false;
}

/* Sets *early if the claim says that the token is not valid yet. False: it is not a number. */
static bool read_start(const json_t *claims, const char *name, int64_t now_ms, bool *early)
{
	int64_t from_s;

	if (json_object_get(claims, name) == NULL)
		return true;
	if (!numeric_date(claims, name, &from_s))
		return false;
	*early = *early || from_s * 1000 > now_ms + AUTH_LEEWAY_MS;
	return true;
}

static enum auth_result check_claims(const struct config *c, const json_t *claims, int64_t now_ms,
				     struct auth_grant *out)
{
	const json_t *sub = json_object_get(claims, "sub");
	bool early = false;
	int64_t expires_s;

	if (!json_is_string(sub) ||
	    !id_connection_valid(json_string_value(sub), json_string_length(sub)) ||
	    !text_is(json_object_get(claims, "iss"), c->jwt_issuer) ||
	    !audience_ok(json_object_get(claims, "aud"), c->jwt_audience) ||
	    !numeric_date(claims, "exp", &expires_s) ||
	    !read_start(claims, "nbf", now_ms, &early) ||
	    !read_start(claims, "iat", now_ms, &early))
		return AUTH_INVALID;
	strcpy(out->connection_id, json_string_value(sub));
	out->life_ms = expires_s * 1000 - now_ms;
	if (out->life_ms <= 0)
		return AUTH_EXPIRED;
	return early ? AUTH_EARLY : AUTH_OK;
}

/* Copies the token and appends a NUL. False: it is not signed with our secret. */
static bool is_signed(const struct config *c, const char *token, size_t bytes,
		      char text[AUTH_TOKEN_MAX_BYTES + 1], jwt_alg_t *algorithm)
{
	if (bytes > AUTH_TOKEN_MAX_BYTES || memchr(token, '\0', bytes) != NULL)
		return false;
	memcpy(text, token, bytes);
	text[bytes] = '\0';
	return signature_ok(c, text, algorithm);
}

bool auth_is_ours(const struct config *c, const char *token, size_t bytes)
{
	char text[AUTH_TOKEN_MAX_BYTES + 1];
	jwt_alg_t algorithm;

	return bytes > 0 && is_signed(c, token, bytes, text, &algorithm);
}

/* Checks what libjwt does not: the names of algorithms are case-sensitive (RFC 7515 4.1.1), and a
 * token with critical extensions (4.1.11) must be refused, because none is implemented. */
static bool header_is_good(jwt_t *jwt, jwt_alg_t algorithm)
{
	const char *name = jwt_get_header(jwt, "alg");
	char *extensions = jwt_get_headers_json(jwt, "crit");
	bool good = name != NULL && strcmp(name, jwt_alg_str(algorithm)) == 0 && extensions == NULL;

	free(extensions);
	return good;
}

enum auth_result auth_check(const struct config *c, const char *token, size_t bytes, int64_t now_ms,
			    struct auth_grant *out)
{
	char text[AUTH_TOKEN_MAX_BYTES + 1];
	jwt_alg_t algorithm;
	jwt_t *jwt = NULL;

	if (bytes == 0)
		return AUTH_MISSING;
	if (!is_signed(c, token, bytes, text, &algorithm))
		return AUTH_INVALID;
	if (jwt_decode(&jwt, text, (const unsigned char *)c->jwt_secret,
		       (int)strlen(c->jwt_secret)) != 0)
		return AUTH_INVALID;

	enum auth_result result = AUTH_INVALID;
	char *json = header_is_good(jwt, algorithm) ? jwt_get_grants_json(jwt, NULL) : NULL;
	json_t *claims = json ? json_loads(json, JSON_ALLOW_NUL, NULL) : NULL;
	if (claims != NULL)
		result = check_claims(c, claims, now_ms, out);
	json_decref(claims);
	free(json);
	jwt_free(jwt);
	return result;
}

const char *auth_reason(enum auth_result result)
{
	switch (result) {
	case AUTH_MISSING:
		return "Missing token";
	case AUTH_EXPIRED:
		return "Token expired";
	case AUTH_EARLY:
		return "Token not yet valid";
	case AUTH_INVALID:
	case AUTH_OK:
		break;
	}
	return "Invalid token";
}

char *auth_mint(const struct config *c, const char *connection_id, int64_t now_s)
{
	uint8_t random[16];
	char jti[2 * sizeof random + 1];
	jwt_t *jwt = NULL;
	char *token = NULL;

	id_random(random, sizeof random);
	id_to_hex(random, sizeof random, jti);
	if (jwt_new(&jwt) != 0)
		return NULL;
	if (jwt_add_grant(jwt, "sub", connection_id) == 0 &&
	    jwt_add_grant_int(jwt, "exp", (long)(now_s + c->jwt_ttl_days * 24 * 3600)) == 0 &&
	    jwt_add_grant_int(jwt, "nbf", (long)now_s) == 0 &&
	    jwt_add_grant_int(jwt, "iat", (long)now_s) == 0 &&
	    jwt_add_grant(jwt, "iss", c->jwt_issuer) == 0 &&
	    jwt_add_grant(jwt, "aud", c->jwt_audience) == 0 &&
	    jwt_add_grant(jwt, "jti", jti) == 0 &&
	    jwt_set_alg(jwt, hmacs[c->jwt_algorithms[0]].jwt, (const unsigned char *)c->jwt_secret,
			(int)strlen(c->jwt_secret)) == 0)
		token = jwt_encode_str(jwt);
	jwt_free(jwt);
	return token;
}

const char *auth_library_version(void)
{
#ifdef JWT_VERSION
	return JWT_VERSION;
#else
	return "1.10"; /* libjwt has no version macro before 2.0 */
#endif
}
