/* broker/jwk.c - see jwk.h. */
#include "broker/jwk.h"

#include "common/b64.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NUMBER_MAX_BYTES = 1024 + 1, /* the modulus of the largest RSA key */
};

struct number {
	uint8_t *at;
	size_t bytes;
};

/* The member as bytes (base64url). False: it has none, or too many. */
static bool read_number(const json_t *jwk, const char *name, struct number *out)
{
	const json_t *value = json_object_get(jwk, name);

	out->at = NULL;
	if (!json_is_string(value) || json_string_length(value) > NUMBER_MAX_BYTES * 4 / 3 + 1)
		return false;
	out->at = b64_decode_url(json_string_value(value), json_string_length(value), &out->bytes);
	return out->at != NULL;
}

static const char *text_of(const json_t *jwk, const char *name)
{
	const char *text = json_string_value(json_object_get(jwk, name));

	return text != NULL ? text : "";
}

static struct key *read_oct(const json_t *jwk, const char *id, const char **fault)
{
	struct number k;
	struct key *key = NULL;

	*fault = "k is not base64url of 32 bytes or more";
	if (read_number(jwk, "k", &k) && k.bytes >= KEY_SECRET_MIN_BYTES)
		key = key_of_secret(k.at, k.bytes, id);
	free(k.at);
	return key;
}

/* Reads a key of a type other than oct. */
static struct key *read_public(const json_t *jwk, const char *type, const char *id,
			       const char **fault)
{
	bool rsa = strcmp(type, "RSA") == 0, okp = strcmp(type, "OKP") == 0;
	struct number first, second = {0};
	struct key *key = NULL;

	*fault = "a number is missing or not base64url";
	bool good = read_number(jwk, rsa ? "n" : "x", &first);
	if (good && !okp)
		good = read_number(jwk, rsa ? "e" : "y", &second);
	if (good && rsa)
		key = key_of_rsa(first.at, first.bytes, second.at, second.bytes, id, fault);
	else if (good && okp)
		key = key_of_ed25519(first.at, first.bytes, id, fault);
	else if (good)
		key = key_of_ec(text_of(jwk, "crv"), first.at, first.bytes, second.at, second.bytes,
				id, fault);
	free(first.at);
	free(second.at);
	return key;
}

static bool lists(const json_t *operations, const char *want)
{
	for (size_t i = 0; i < json_array_size(operations); i++) {
		const char *name = json_string_value(json_array_get(operations, i));
		if (name != NULL && strcmp(name, want) == 0)
			return true;
	}
	return false;
}

/* Returns why the key is not for us. NULL: it is. */
static const char *why_skipped(const json_t *jwk)
{
	const char *type = text_of(jwk, "kty"), *curve = text_of(jwk, "crv");
	const json_t *operations = json_object_get(jwk, "key_ops");
	const char *use = text_of(jwk, "use");
	enum key_algorithm algorithm;

	if (*use != '\0' && strcmp(use, "sig") != 0)
		return "it is not for signatures";
	if (operations != NULL && !lists(operations, "verify"))
		return "its key_ops have no verify";
	if (json_object_get(jwk, "alg") != NULL &&
	    !key_algorithm_by_name(text_of(jwk, "alg"), &algorithm))
		return "its algorithm is not supported";
	if (strcmp(type, "OKP") == 0)
		return strcmp(curve, "Ed25519") == 0 ? NULL : "its curve is not supported";
	if (strcmp(type, "EC") == 0 && strncmp(curve, "P-", 2) != 0)
		return "its curve is not supported";
	if (strcmp(type, "RSA") != 0 && strcmp(type, "EC") != 0 && strcmp(type, "oct") != 0)
		return "its type is not supported";
	return NULL;
}

/* NULL and *fault NULL: the key was skipped. */
static struct key *read_key(const json_t *jwk, const struct jwk_reader *r, const char **fault)
{
	const json_t *kid = json_object_get(jwk, "kid");
	enum key_algorithm algorithm;

	*fault = "not an object with a kty";
	if (!json_is_string(json_object_get(jwk, "kty")))
		return NULL;
	*fault = "its kid is not a text of at most 128 bytes";
	if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) > KEY_ID_MAX_BYTES ||
			    strlen(json_string_value(kid)) != json_string_length(kid)))
		return NULL;
	const char *why = why_skipped(jwk), *type = text_of(jwk, "kty"), *id = text_of(jwk, "kid");
	if (why != NULL) {
		*fault = NULL;
		r->skipped(r->ctx, id, why);
		return NULL;
	}
	struct key *k = strcmp(type, "oct") == 0 ? read_oct(jwk, id, fault)
						 : read_public(jwk, type, id, fault);
	if (k != NULL && key_algorithm_by_name(text_of(jwk, "alg"), &algorithm) &&
	    !key_restrict(k, algorithm)) {
		*fault = "its alg is not one of its type";
		key_free(&k);
	}
	return k;
}

bool jwk_read(const char *text, size_t bytes, const struct jwk_reader *r, char *fault,
	      size_t fault_bytes)
{
	json_error_t error;
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	const json_t *keys = json_object_get(root, "keys");
	bool single = keys == NULL && json_object_get(root, "kty") != NULL;
	size_t count = single ? 1 : json_array_size(keys);
	const char *why = NULL;

	*fault = '\0';
	if (root == NULL)
		snprintf(fault, fault_bytes, "line %d: %s", error.line, error.text);
	else if (!single && !json_is_array(keys))
		snprintf(fault, fault_bytes, "no JWK Set: it has no list \"keys\"");
	for (size_t i = 0; i < count && *fault == '\0'; i++) {
		struct key *k = read_key(single ? root : json_array_get(keys, i), r, &why);
		if (k == NULL && why != NULL)
			snprintf(fault, fault_bytes, "key %zu: %s", i + 1, why);
		else if (k != NULL && !r->take(r->ctx, k))
			snprintf(fault, fault_bytes, "too many keys");
	}
	json_decref(root);
	return *fault == '\0';
}
