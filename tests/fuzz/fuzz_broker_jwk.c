/* Key files: a JWK Set, one JWK, or PEM. Every key that is taken is usable. */
#include "broker/jwk.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

enum { TAKEN_MAX = 4 };

static size_t taken;

static bool take(void *ctx, struct key *k)
{
	size_t bytes;
	bool serves = false;

	(void)ctx;
	for (int a = 0; a < KEY_ALGORITHM_COUNT; a++)
		serves = serves || key_serves(k, (enum key_algorithm)a);
	CHECK(serves && strlen(key_id(k)) <= KEY_ID_MAX_BYTES);
	CHECK(key_to_check(k, &bytes) != NULL && bytes >= KEY_SECRET_MIN_BYTES);
	key_free(&k);
	return ++taken < TAKEN_MAX;
}

static void skipped(void *ctx, const char *id, const char *why)
{
	(void)ctx;
	CHECK(strlen(id) <= KEY_ID_MAX_BYTES && *why != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct jwk_reader reader = {.take = take, .skipped = skipped};
	const char *why;
	char fault[200];

	taken = 0;
	bool good = jwk_read((const char *)data, bytes, &reader, fault, sizeof fault);
	CHECK(good == (*fault == '\0'));
	struct key *k = key_of_pem((const char *)data, bytes, "kid", &why);
	CHECK(k != NULL || *why != '\0');
	key_free(&k);
	return 0;
}
