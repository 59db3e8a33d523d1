/* broker/config.h - Settings of pipegate-broker and pipegate-token (contract section 2). The
 * tables in config.c define each flag and variable with its bounds and default. */
#ifndef PIPEGATE_CONFIG_H
#define PIPEGATE_CONFIG_H

#include "broker/key.h"
#include "common/cli.h"
#include "common/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The address of the listener if none is configured or inherited. */
#define CONFIG_LISTEN "127.0.0.1:8000"

struct config {
	const char *jwt_secret;		 /* NULL: none */
	const char *jwt_keys;		 /* a file or directory with more keys; NULL: none */
	const char *jwt_algorithms_json; /* the text of the variable */
	/* Allowed; the first one that the key can do signs. */
	enum key_algorithm jwt_algorithms[KEY_ALGORITHM_COUNT];
	size_t jwt_algorithm_count;
	const char *jwt_issuer;
	const char *jwt_audience;
	int64_t jwt_ttl_days;
	const char *connection_id; /* NULL: make a random one */

	/* pipegate-token. */
	const char *signing_key;      /* a file; NULL: the secret signs */
	const char *token_ids;	      /* "a,b,team-*"; NULL: the connection id only */
	int64_t token_max_running;    /* 0: no limit of the token's own */
	int64_t token_max_body_bytes; /* 0: no limit of the token's own */
	bool json;		      /* print a JSON object */

	int64_t max_body_bytes; /* 0: no limit */
	int64_t max_queue_depth;
	int64_t max_concurrent;
	int64_t max_websockets; /* on one tunnel */
	int64_t max_tunnels;	/* of one connection id */
	int64_t max_buffer_bytes_per_id;
	int64_t buffer_bytes; /* out of which receive windows grow */
	int64_t v1_message_bytes;
	int64_t response_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t offline_wait_ms;
	int64_t drain_ms;
	int64_t websocket_ping_ms;

	const char *listen;	   /* ADDR:PORT or unix:PATH; NULL: not configured */
	const char *gate;	   /* ZeroMQ endpoint */
	const char *admin;	   /* NULL: off */
	const char *control;	   /* unix:PATH for pipegate-ctl; NULL: off */
	const char *control_group; /* of its socket; NULL: the group of the process */
	const char *hook;	   /* a program; NULL: none */
	const char *state;	   /* a directory; NULL: nothing is kept over a restart */
	const char *socket_group;  /* NULL: the group of the process */
	bool check_only;
};

extern const struct setting config_broker_settings[], config_token_settings[];

/* Reads flags and variables into *c, which borrows their strings. Returns -1 to continue, or the
 * exit code after one line on stderr that names the flag or variable and quotes its value (never
 * the secret). */
int config_read(struct config *c, const struct program *p, int argc, char **argv) MUST_CHECK;

/* The algorithm that `signer` signs with. False: it can do none of the allowed ones. */
bool config_signing_algorithm(const struct config *c, const struct key *signer,
			      enum key_algorithm *out) MUST_CHECK;

/* Checks --listen, --gate, PIPEGATE_ADMIN and --socket-group without opening anything. Returns
 * 0, or EXIT_CONFIG after one line on stderr. */
int config_check_endpoints(const struct config *c);

#endif
