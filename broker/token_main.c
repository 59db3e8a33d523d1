/* broker/token_main.c - pipegate-token: mints a tunnel token. */
#include "broker/auth.h"
#include "broker/config.h"
#include "common/id.h"
#include "common/log.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
	"usage: pipegate-token [-c ID | --connection-id ID] [--ttl-days N] [--json]\n"
	"Prints a connection id and the token that opens its tunnel.\n"
	"\n"
	"  -c, --connection-id ID  name of the tunnel: 1 to 64 of A-Z a-z 0-9 _ - (default: "
	"random)\n"
	"      --ttl-days N        how long the token is good for (default: 21)\n"
	"      --json              print one JSON object instead of two lines\n"
	"  -v, --verbose           say more on standard error\n"
	"  -h, --help              this text\n"
	"      --version           versions of the program and its libraries\n"
	"\n"
	"Environment: PIPEGATE_JWT_SECRET, PIPEGATE_JWT_ALGORITHMS (both required),\n"
	"PIPEGATE_JWT_ISSUER, PIPEGATE_JWT_AUDIENCE, PIPEGATE_JWT_TTL_DAYS, "
	"PIPEGATE_CONNECTION_ID.\n";

struct arguments {
	const char *connection_id;
	const char *ttl_days;
	bool json;
};

/* A random UUID of version 4 (RFC 4122 4.4), as 32 hex digits. */
static void random_connection_id(char out[33])
{
	uint8_t bytes[16];

	id_random(bytes, sizeof bytes);
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
	id_to_hex(bytes, sizeof bytes, out);
}

/* -1: go on. Otherwise the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	enum { OPT_TTL = 1000, OPT_JSON, OPT_VERSION };
	static const struct option options[] = {
		{"connection-id", required_argument, NULL, 'c'},
		{"ttl-days", required_argument, NULL, OPT_TTL},
		{"json", no_argument, NULL, OPT_JSON},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPT_VERSION},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = cli_option(argc, argv, "c:vh", options)) != -1) {
		switch (option) {
		case 'c':
			a->connection_id = optarg;
			break;
		case OPT_TTL:
			a->ttl_days = optarg;
			break;
		case OPT_JSON:
			a->json = true;
			break;
		case 'v':
			log_verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			printf("pipegate-token %s (libjwt %s, jansson %s, %s)\n", PIPEGATE_VERSION,
			       auth_library_version(), JANSSON_VERSION,
			       OpenSSL_version(OPENSSL_VERSION));
			return 0;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_misuse("unexpected argument", argv[optind]);
	return -1;
}

static int apply_arguments(struct config *c, const struct arguments *a)
{
	if (a->connection_id != NULL) {
		if (!id_connection_valid(a->connection_id, strlen(a->connection_id))) {
			cli_complain("--connection-id", "not 1 to 64 of A-Z a-z 0-9 _ -",
				     a->connection_id);
			return EXIT_USAGE;
		}
		c->connection_id = a->connection_id;
	}
	if (a->ttl_days != NULL && !cli_parse_number(a->ttl_days, 1, 36500, &c->jwt_ttl_days)) {
		cli_complain("--ttl-days", "not a whole number from 1 to 36500", a->ttl_days);
		return EXIT_USAGE;
	}
	return 0;
}

static void print_token(const char *id, const char *token, const struct config *c, int64_t now_s,
			bool json)
{
	if (!json) {
		printf("Connection-id: %s\nJWT Bearer:    %s\n", id, token);
		return;
	}
	json_t *object = json_pack("{s:s, s:s, s:I}", "connection_id", id, "token", token,
				   "expires", (json_int_t)(now_s + c->jwt_ttl_days * 24 * 3600));
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	struct config c;
	char random_id[33];

	cli_program = "pipegate-token";
	int result = parse_arguments(argc, argv, &a);
	if (result >= 0)
		return result;
	cli_flag_wins(a.connection_id, "PIPEGATE_CONNECTION_ID");
	cli_flag_wins(a.ttl_days, "PIPEGATE_JWT_TTL_DAYS");
	result = config_from_environment(&c, CONFIG_TOKEN);
	if (result == 0)
		result = apply_arguments(&c, &a);
	if (result != 0)
		return result;

	random_connection_id(random_id);
	const char *id = c.connection_id ? c.connection_id : random_id;
	int64_t now_s = time(NULL);
	char *token = auth_mint(&c, id, now_s);
	if (token == NULL) {
		fputs("pipegate-token: could not sign the token\n", stderr);
		return 1;
	}
	print_token(id, token, &c, now_s, a.json);
	free(token);
	return fflush(stdout) == 0 ? 0 : 1;
}
