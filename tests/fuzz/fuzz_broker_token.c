/* Tokens: as they come from a stranger; and with a header and claims of the input's, signed with
 * our secret, so that what is behind the signature is reached too. */
#include "broker/auth.h"

#include "common/b64.h"
#include "common/buf.h"
#include "common/id.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static const int64_t now_s = 1700000000;
static const char secret[] = "a secret for tests";

/* base64url without padding. */
static void put_base64url(struct buf *out, const void *data, size_t bytes)
{
	size_t length;
	char *text = b64_encode(data, bytes, &length);

	for (size_t i = 0; i < length && text[i] != '='; i++)
		buf_append(out, text[i] == '+' ? "-" : text[i] == '/' ? "_" : text + i, 1);
	free(text);
}

static const EVP_MD *digest(enum key_algorithm algorithm)
{
	return algorithm == KEY_HS256	? EVP_sha256()
	       : algorithm == KEY_HS384 ? EVP_sha384()
					: EVP_sha512();
}

/* Nothing but a token of ours, in time and for this issuer and audience, may be good. */
static void check_good(const struct auth_grant *grant, const char *header, const char *claims,
		       enum key_algorithm signer)
{
	json_t *h = json_loads(header, 0, NULL), *c = json_loads(claims, JSON_ALLOW_NUL, NULL);
	const char *algorithm = json_string_value(json_object_get(h, "alg"));
	const char *sub = json_string_value(json_object_get(c, "sub"));
	const char *issuer = json_string_value(json_object_get(c, "iss"));

	CHECK(id_connection_valid(grant->connection_id, strlen(grant->connection_id)));
	CHECK(grant->life_ms > 0);
	CHECK(algorithm != NULL && strcasecmp(algorithm, key_algorithm_name(signer)) == 0);
	CHECK(sub != NULL && strcmp(sub, grant->connection_id) == 0);
	CHECK(issuer != NULL && strcmp(issuer, "pipegate") == 0);
	CHECK(json_number_value(json_object_get(c, "exp")) > (double)now_s);
	CHECK(!(json_number_value(json_object_get(c, "nbf")) >= (double)now_s + 61));
	CHECK(!(json_number_value(json_object_get(c, "iat")) >= (double)now_s + 61));
	json_decref(h);
	json_decref(c);
}

static void check_signed(const struct auth *a, struct input *in, enum key_algorithm signer)
{
	char *header = input_line(in), *claims = input_line(in);
	struct auth_grant grant;
	struct buf token = {0};
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_bytes = 0;

	if (header != NULL && claims != NULL) {
		put_base64url(&token, header, strlen(header));
		buf_append(&token, ".", 1);
		put_base64url(&token, claims, strlen(claims));
		CHECK(HMAC(digest(signer), secret, (int)strlen(secret), buf_first(&token),
			   buf_bytes(&token), mac, &mac_bytes) != NULL);
		buf_append(&token, ".", 1);
		put_base64url(&token, mac, mac_bytes);
		if (auth_check(a, (const char *)buf_first(&token), buf_bytes(&token), NULL,
			       now_s * 1000, &grant) == AUTH_OK) {
			check_good(&grant, header, claims, signer);
			CHECK(signer == a->config->jwt_algorithms[0] ||
			      (a->config->jwt_algorithm_count > 1 &&
			       signer == a->config->jwt_algorithms[1]));
		}
	}
	buf_fini(&token);
	free(header);
	free(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	uint8_t how = input_byte(&in);
	const struct config c = {
		.jwt_secret = secret,
		.jwt_algorithms = {KEY_HS256, KEY_HS512},
		.jwt_algorithm_count = 1 + how % 2,
		.jwt_issuer = "pipegate",
		.jwt_audience = "pipegate",
	};
	char fault[200];
	struct keyring *keys = keyring_load(&c, fault, sizeof fault);
	const struct auth auth = {.config = &c, .keys = keys};
	struct auth_grant grant;

	/* No input has a good signature by luck. */
	CHECK(auth_check(&auth, (const char *)in.at, in.left, NULL, now_s * 1000, &grant) !=
	      AUTH_OK);
	check_signed(&auth, &in, (enum key_algorithm)(KEY_HS256 + how / 2 % 3));
	keyring_free(&keys);
	return 0;
}
