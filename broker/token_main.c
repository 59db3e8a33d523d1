/* broker/token_main.c - pipegate-token: mints a tunnel token. */
#include "broker/auth.h"
#include "broker/config.h"
#include "common/id.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A random UUID of version 4 (RFC 4122 4.4), as 32 hex digits. */
static void random_connection_id(char out[33])
{
	uint8_t bytes[16];

	id_random(bytes, sizeof bytes);
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
	id_to_hex(bytes, sizeof bytes, out);
}

static void print_version(void)
{
	printf("pipegate-token %s (libjwt %s, jansson %s, %s)\n", PIPEGATE_VERSION,
	       auth_library_version(), JANSSON_VERSION, OpenSSL_version(OPENSSL_VERSION));
}

static const struct program program = {
	.name = "pipegate-token",
	.summary = "Prints a connection id and the token that opens its tunnel.",
	.settings = config_token_settings,
	.print_version = print_version,
};

static void print_token(const char *id, const char *token, const struct config *c, int64_t now_s)
{
	if (!c->json) {
		printf("Connection-id: %s\nJWT Bearer:    %s\n", id, token);
		return;
	}
	json_t *object = json_pack("{s:s, s:s, s:I}", "connection_id", id, "token", token,
				   "expires", (json_int_t)(now_s + c->jwt_ttl_days * 24 * 3600));
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

/* Returns the key that signs, and its algorithm. NULL: one line was written to stderr. */
static struct key *load_signer(const struct config *c, enum key_algorithm *algorithm)
{
	char fault[512];
	struct key *signer;

	if (c->signing_key != NULL) {
		signer = keyring_load_signer(c->signing_key, fault, sizeof fault);
		if (signer == NULL)
			(void)cli_complain("--key (PIPEGATE_JWT_SIGNING_KEY)", fault,
					   c->signing_key);
	} else if (c->jwt_secret == NULL || *c->jwt_secret == '\0') {
		(void)cli_complain("PIPEGATE_JWT_SECRET", "not set", NULL);
		return NULL;
	} else {
		signer = key_of_secret(c->jwt_secret, strlen(c->jwt_secret), "");
	}
	if (signer != NULL && !config_signing_algorithm(c, signer, algorithm)) {
		(void)cli_complain("PIPEGATE_JWT_ALGORITHMS", "none that this key can sign with",
				   c->jwt_algorithms_json);
		key_free(&signer);
	}
	return signer;
}

int main(int argc, char **argv)
{
	struct config c;
	char random_id[33];
	enum key_algorithm algorithm;

	int result = config_read(&c, &program, argc, argv);
	if (result >= 0)
		return result;
	struct key *signer = load_signer(&c, &algorithm);
	if (signer == NULL)
		return EXIT_CONFIG;

	random_connection_id(random_id);
	const char *id = c.connection_id ? c.connection_id : random_id;
	int64_t now_s = time(NULL);
	char *token = auth_mint(&c, signer, algorithm, id, now_s);
	key_free(&signer);
	if (token == NULL) {
		fputs("pipegate-token: could not sign the token\n", stderr);
		return 1;
	}
	print_token(id, token, &c, now_s);
	free(token);
	return fflush(stdout) == 0 ? 0 : 1;
}
