/* broker/config.h - Settings of pipegate-broker and pipegate-token: contract section 2.
 *
 * Two tables in config.c name each variable, who reads it, its bounds and default. A flag wins over its
 * variable, which wins over the default. */
#ifndef PIPEGATE_CONFIG_H
#define PIPEGATE_CONFIG_H

#include "common/cli.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum jwt_hmac { JWT_HS256, JWT_HS384, JWT_HS512 };

struct config {
	const char *jwt_secret;
	enum jwt_hmac jwt_algorithms[3]; /* allowed; the first one signs */
	size_t jwt_algorithm_count;
	const char *jwt_issuer;
	const char *jwt_audience;
	int64_t jwt_ttl_days;
	const char *connection_id; /* NULL: a random one */

	int64_t max_body_bytes; /* 0: no limit */
	int64_t max_queue_depth;
	int64_t max_concurrent;
	int64_t max_websockets; /* on one tunnel */
	int64_t max_tunnels;	/* of one connection id */
	int64_t max_buffer_bytes_per_id;
	int64_t v1_message_bytes;
	int64_t response_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t offline_wait_ms;
	int64_t drain_ms;
	int64_t websocket_ping_ms;

	const char *listen;	  /* ADDR:PORT or unix:PATH */
	const char *gate;	  /* ZeroMQ endpoint */
	const char *admin;	  /* NULL: off */
	const char *socket_group; /* NULL: the process's own group */
	bool check_only;
};

enum config_for { CONFIG_BROKER = 1, CONFIG_TOKEN = 2 };

/* Reads the environment into *c, whose strings then borrow from it. 0, or EXIT_CONFIG after one
 * line on stderr that names the variable and quotes the value (never the secret). */
int config_from_environment(struct config *c, enum config_for program);

/* Looks whether --listen, --gate, PIPEGATE_ADMIN and --socket-group can be what they must be, without
 * taking anything. 0 or EXIT_CONFIG. For --check, and before anything is started. */
int config_check_endpoints(const struct config *c);

#endif
