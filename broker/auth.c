/* broker/auth.c - see auth.h.
 *
 * The key is chosen by the token's header, which is not trusted: it can only choose among the
 * allowed algorithms and keys. The signature is checked by libjwt, with two exceptions. libjwt 1.10
 * compares HMACs with strcmp(), whose duration reveals how many bytes match (CVE-2024-25189): so
 * mac_ok() compares them first, in constant time. And no libjwt 1 has EdDSA: OpenSSL does it. */
#include "broker/auth.h"

#include "common/b64.h"
#include "common/id.h"

#include <jansson.h>
#include <jwt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* EdDSA: not in libjwt. */
static const jwt_alg_t libjwt_names[KEY_ALGORITHM_COUNT] = {
	[KEY_HS256] = JWT_ALG_HS256, [KEY_HS384] = JWT_ALG_HS384, [KEY_HS512] = JWT_ALG_HS512,
	[KEY_RS256] = JWT_ALG_RS256, [KEY_RS384] = JWT_ALG_RS384, [KEY_RS512] = JWT_ALG_RS512,
	[KEY_ES256] = JWT_ALG_ES256, [KEY_ES384] = JWT_ALG_ES384, [KEY_ES512] = JWT_ALG_ES512,
	[KEY_EdDSA] = JWT_ALG_INVAL,
};

/* --- the parts of a token --- */

/* A token in the compact form (RFC 7515 3.1): three parts with dots between them. */
struct token {
	char text[AUTH_TOKEN_MAX_BYTES + 1];
	size_t signed_bytes;   /* the header, a dot, and the claims */
	const char *claims;    /* within `text` */
	const char *signature; /* within `text` */
	enum key_algorithm algorithm;
	char kid[KEY_ID_MAX_BYTES + 1]; /* "": none */
};

/* Decodes a part, which is a JSON object. NULL: it is not. The caller releases it. */
static json_t *decode(const char *text, size_t text_bytes)
{
	size_t bytes;
	uint8_t *data = b64_decode_url(text, text_bytes, &bytes);
	json_t *object = NULL;

	if (data != NULL)
		object = json_loadb((const char *)data, bytes, JSON_ALLOW_NUL, NULL);
	free(data);
	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

static bool is_allowed(const struct config *c, enum key_algorithm a)
{
	for (size_t i = 0; i < c->jwt_algorithm_count; i++) {
		if (c->jwt_algorithms[i] == a)
			return true;
	}
	return false;
}

/* Reads what chooses the key. The names of algorithms are case-sensitive (RFC 7515 4.1.1), and a
 * token with critical extensions (4.1.11) is refused, because none is implemented. */
static bool read_header(const struct config *c, struct token *t)
{
	json_t *header = decode(t->text, (size_t)(t->claims - 1 - t->text));
	const json_t *kid = json_object_get(header, "kid");
	const char *algorithm = json_string_value(json_object_get(header, "alg"));

	bool good = key_algorithm_by_name(algorithm, &t->algorithm) &&
		    is_allowed(c, t->algorithm) && json_object_get(header, "crit") == NULL &&
		    (kid == NULL ||
		     (json_is_string(kid) && json_string_length(kid) <= KEY_ID_MAX_BYTES));
	*t->kid = '\0';
	if (good && kid != NULL)
		strcpy(t->kid, json_string_value(kid));
	json_decref(header);
	return good;
}

/* Splits an untrusted token and reads its header. */
static bool token_read(const struct config *c, const char *token, size_t bytes, struct token *t)
{
	if (bytes > AUTH_TOKEN_MAX_BYTES || memchr(token, '\0', bytes) != NULL)
		return false;
	memcpy(t->text, token, bytes);
	t->text[bytes] = '\0';
	const char *first = strchr(t->text, '.');
	const char *second = first != NULL ? strchr(first + 1, '.') : NULL;
	if (second == NULL || strchr(second + 1, '.') != NULL)
		return false;
	t->claims = first + 1;
	t->signature = second + 1;
	t->signed_bytes = (size_t)(second - t->text);
	return read_header(c, t);
}

/* --- signatures --- */

static bool mac_ok(const struct token *t, const struct key *k)
{
	uint8_t mac[KEY_MAC_MAX_BYTES];
	size_t text_bytes, mac_bytes = key_mac(k, t->algorithm, t->text, t->signed_bytes, mac);
	char *text = b64_encode_url(mac, mac_bytes, &text_bytes);

	bool good = mac_bytes > 0 && strlen(t->signature) == text_bytes &&
		    key_equal_bytes(text, t->signature, text_bytes);
	free(text);
	return good;
}

static bool ed25519_ok(const struct token *t, const struct key *k)
{
	size_t bytes;
	uint8_t *signature = b64_decode_url(t->signature, strlen(t->signature), &bytes);

	bool good = signature != NULL && bytes == KEY_ED25519_BYTES &&
		    key_verify_ed25519(k, t->text, t->signed_bytes, signature);
	free(signature);
	return good;
}

/* Lets libjwt check the signature. Returns the claims, or NULL. */
static json_t *decode_by_libjwt(const struct token *t, const struct key *k)
{
	size_t bytes;
	const unsigned char *material = key_to_check(k, &bytes);
	jwt_t *jwt = NULL;
	json_t *claims = NULL;

	if (jwt_decode(&jwt, t->text, material, (int)bytes) != 0)
		return NULL;
	char *json = jwt_get_alg(jwt) == libjwt_names[t->algorithm] ? jwt_get_grants_json(jwt, NULL)
								    : NULL;
	if (json != NULL)
		claims = json_loads(json, JSON_ALLOW_NUL, NULL);
	free(json);
	jwt_free(jwt);
	return claims;
}

/* Returns the claims if this key has signed the token. */
static json_t *check_with(const struct token *t, const struct key *k)
{
	if (t->algorithm == KEY_EdDSA)
		return ed25519_ok(t, k) ? decode(t->claims, (size_t)(t->signature - 1 - t->claims))
					: NULL;
	if (key_is_secret(k) && !mac_ok(t, k))
		return NULL;
	return decode_by_libjwt(t, k);
}

/* Returns the claims of a token that one of our keys has signed, or NULL; the caller releases
 * them. Sets *signer. */
static json_t *verified_claims(const struct auth *a, const char *token, size_t bytes,
			       const struct key **signer)
{
	struct token t;
	size_t at = 0;
	json_t *claims = NULL;

	if (!token_read(a->config, token, bytes, &t))
		return NULL;
	while (claims == NULL && (*signer = keyring_next(a->keys, t.algorithm, t.kid, &at)) != NULL)
		claims = check_with(&t, *signer);
	return claims;
}

/* --- claims --- */

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

static bool is_for_us(const struct config *c, const json_t *claims)
{
	return text_is(json_object_get(claims, "iss"), c->jwt_issuer) &&
	       audience_ok(json_object_get(claims, "aud"), c->jwt_audience);
}

/* Reads nbf or iat. Sets *early if it says that the token is not valid yet. False: it is not a
 * number. */
static bool read_start(const json_t *claims, const char *name, int64_t now_ms, bool *early,
		       int64_t *from_s)
{
	*from_s = 0;
	if (json_object_get(claims, name) == NULL)
		return true;
	if (!numeric_date(claims, name, from_s))
		return false;
	*early = *early || *from_s * 1000 > now_ms + AUTH_LEEWAY_MS;
	return true;
}

/* Reads a limit, a whole number of 1 or more. False: it is something else. */
static bool read_limit(const json_t *claims, const char *name, int64_t *out)
{
	const json_t *value = json_object_get(claims, name);

	*out = 0;
	if (value == NULL)
		return true;
	*out = json_integer_value(value);
	return *out >= 1;
}

/* True if `pattern` is `id`, or ends in "*" and `id` begins with what stands before it. */
static bool pattern_matches(const char *pattern, size_t bytes, const char *id)
{
	if (bytes > 1 && pattern[bytes - 1] == '*')
		return strncmp(pattern, id, bytes - 1) == 0;
	return strlen(id) == bytes && memcmp(pattern, id, bytes) == 0;
}

static bool pattern_valid(const json_t *value)
{
	const char *text = json_string_value(value);
	size_t bytes = json_string_length(value);

	if (text == NULL || bytes == 0)
		return false;
	return id_connection_valid(text, bytes > 1 && text[bytes - 1] == '*' ? bytes - 1 : bytes);
}

/* Reads "ids", the list of the other connection ids that the token is for. False: it is not a list
 * of ids and prefixes. */
static bool read_ids(const json_t *claims, const char *id, bool *listed)
{
	const json_t *ids = json_object_get(claims, "ids");

	*listed = false;
	if (ids == NULL)
		return true;
	if (!json_is_array(ids) || json_array_size(ids) > AUTH_IDS_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const json_t *value = json_array_get(ids, i);
		if (!pattern_valid(value))
			return false;
		*listed = *listed ||
			  pattern_matches(json_string_value(value), json_string_length(value), id);
	}
	return true;
}

/* Reads the claims that name: sub, ids, jti. Sets *other_id if `id` is none of the token's. */
static bool read_names(const json_t *claims, const char *id, struct auth_grant *out, bool *other_id)
{
	const json_t *sub = json_object_get(claims, "sub"), *jti = json_object_get(claims, "jti");
	bool listed;

	if (!json_is_string(sub) ||
	    !id_connection_valid(json_string_value(sub), json_string_length(sub)) ||
	    (jti != NULL && (!json_is_string(jti) || json_string_length(jti) > AUTH_JTI_MAX_BYTES)))
		return false;
	strcpy(out->subject, json_string_value(sub));
	strcpy(out->jti, jti != NULL ? json_string_value(jti) : "");
	strcpy(out->connection_id, id != NULL ? id : out->subject);
	if (!read_ids(claims, out->connection_id, &listed))
		return false;
	*other_id = !listed && strcmp(out->connection_id, out->subject) != 0;
	return true;
}

static enum auth_result check_claims(const struct auth *a, const json_t *claims, const char *id,
				     int64_t now_ms, struct auth_grant *out)
{
	bool early = false, other_id;
	int64_t expires_s, not_before_s;

	if (!is_for_us(a->config, claims) || !read_names(claims, id, out, &other_id) ||
	    !numeric_date(claims, "exp", &expires_s) ||
	    !read_start(claims, "nbf", now_ms, &early, &not_before_s) ||
	    !read_start(claims, "iat", now_ms, &early, &out->issued_s) ||
	    !read_limit(claims, "max_running", &out->max_running) ||
	    !read_limit(claims, "max_body", &out->max_body_bytes))
		return AUTH_INVALID;
	out->life_ms = expires_s * 1000 - now_ms;
	if (out->life_ms <= 0)
		return AUTH_EXPIRED;
	if (revocations_have(a->revocations, out->subject, out->jti, out->issued_s))
		return AUTH_REVOKED;
	if (early)
		return AUTH_EARLY;
	return other_id ? AUTH_OTHER_ID : AUTH_OK;
}

/* --- the interface --- */

bool auth_is_ours(const struct auth *a, const char *token, size_t bytes)
{
	const struct key *signer = NULL;
	json_t *claims = verified_claims(a, token, bytes, &signer);
	bool ours = claims != NULL && (key_is_secret(signer) || is_for_us(a->config, claims));

	json_decref(claims);
	return ours;
}

enum auth_result auth_check(const struct auth *a, const char *token, size_t bytes, const char *id,
			    int64_t now_ms, struct auth_grant *out)
{
	const struct key *signer = NULL;

	if (bytes == 0)
		return AUTH_MISSING;
	json_t *claims = verified_claims(a, token, bytes, &signer);
	enum auth_result result =
		claims != NULL ? check_claims(a, claims, id, now_ms, out) : AUTH_INVALID;
	json_decref(claims);
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
	case AUTH_REVOKED:
		return "Token revoked";
	case AUTH_OTHER_ID:
		return "Token is for another connection id";
	case AUTH_INVALID:
	case AUTH_OK:
		break;
	}
	return "Invalid token";
}

/* --- minting --- */

/* "a,b,team-*" as a list. */
static json_t *list_of(const char *text)
{
	json_t *list = json_array();

	for (const char *at = text; *at != '\0';) {
		size_t bytes = strcspn(at, ",");
		CHECK(json_array_append_new(list, json_stringn(at, bytes)) == 0);
		at += bytes + (at[bytes] == ',');
	}
	return list;
}

static void put(json_t *claims, const char *name, json_t *value)
{
	CHECK(value != NULL && json_object_set_new(claims, name, value) == 0);
}

static json_t *new_claims(const struct config *c, const char *connection_id, int64_t now_s)
{
	uint8_t random[16];
	char jti[2 * sizeof random + 1];
	json_t *claims = json_object();

	id_random(random, sizeof random);
	id_to_hex(random, sizeof random, jti);
	put(claims, "sub", json_string(connection_id));
	put(claims, "exp", json_integer(now_s + c->jwt_ttl_days * 24 * 3600));
	put(claims, "nbf", json_integer(now_s));
	put(claims, "iat", json_integer(now_s));
	put(claims, "iss", json_string(c->jwt_issuer));
	put(claims, "aud", json_string(c->jwt_audience));
	put(claims, "jti", json_string(jti));
	if (c->token_ids != NULL)
		put(claims, "ids", list_of(c->token_ids));
	if (c->token_max_running > 0)
		put(claims, "max_running", json_integer(c->token_max_running));
	if (c->token_max_body_bytes > 0)
		put(claims, "max_body", json_integer(c->token_max_body_bytes));
	return claims;
}

static char *sign_by_libjwt(const struct key *signer, enum key_algorithm a, const char *claims)
{
	size_t bytes;
	const unsigned char *material = key_to_sign(signer, &bytes);
	jwt_t *jwt = NULL;
	char *token = NULL;

	if (jwt_new(&jwt) != 0)
		return NULL;
	if (jwt_add_grants_json(jwt, claims) == 0 &&
	    (*key_id(signer) == '\0' || jwt_add_header(jwt, "kid", key_id(signer)) == 0) &&
	    jwt_set_alg(jwt, libjwt_names[a], material, (int)bytes) == 0)
		token = jwt_encode_str(jwt);
	jwt_free(jwt);
	return token;
}

/* Returns "first.second"; the caller frees it. */
static char *join(const char *first, const char *second)
{
	char *text = NULL;

	if (asprintf(&text, "%s.%s", first, second) < 0)
		out_of_memory();
	return text;
}

static char *sign_by_ed25519(const struct key *signer, const char *claims)
{
	json_t *object =
		json_pack("{s:s, s:s}", "typ", "JWT", "alg", key_algorithm_name(KEY_EdDSA));
	uint8_t signature[KEY_ED25519_BYTES];
	size_t bytes;
	char *token = NULL;

	CHECK(object != NULL);
	if (*key_id(signer) != '\0')
		put(object, "kid", json_string(key_id(signer)));
	char *header = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	CHECK(header != NULL);
	char *first = b64_encode_url(header, strlen(header), &bytes);
	char *second = b64_encode_url(claims, strlen(claims), &bytes);
	char *text = join(first, second);
	if (key_sign_ed25519(signer, text, strlen(text), signature)) {
		char *third = b64_encode_url(signature, sizeof signature, &bytes);
		token = join(text, third);
		free(third);
	}
	free(header);
	free(first);
	free(second);
	free(text);
	return token;
}

char *auth_mint(const struct config *c, const struct key *signer, enum key_algorithm a,
		const char *connection_id, int64_t now_s)
{
	json_t *claims = new_claims(c, connection_id, now_s);
	char *text = json_dumps(claims, JSON_COMPACT), *token = NULL;

	json_decref(claims);
	if (text != NULL)
		token = a == KEY_EdDSA ? sign_by_ed25519(signer, text)
				       : sign_by_libjwt(signer, a, text);
	free(text);
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
