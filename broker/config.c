/* broker/config.c - see config.h. */
#include "broker/config.h"

#include "common/endpoint.h"
#include "common/id.h"
#include "common/log.h"

#include <grp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t YEAR_SECONDS = 366 * 24 * 3600;

struct number_key {
	const char *name;
	unsigned readers; /* of enum config_for */
	int64_t standard, least, most;
	int64_t unit; /* what one of the variable is in the struct */
	size_t offset;
};

struct text_key {
	const char *name;
	unsigned readers;
	const char *standard;
	size_t offset;
};

#define AT(member) offsetof(struct config, member)

static int load_numbers(struct config *c, enum config_for program)
{
	const struct number_key keys[] = {
		{"PIPEGATE_JWT_TTL_DAYS", CONFIG_TOKEN, 21, 1, 36500, 1, AT(jwt_ttl_days)},
		{"PIPEGATE_MAX_BODY_BYTES", CONFIG_BROKER, 10485760, 0, INT64_MAX, 1,
		 AT(max_body_bytes)},
		{"PIPEGATE_MAX_QUEUE_DEPTH", CONFIG_BROKER, 100, 0, 1000000, 1,
		 AT(max_queue_depth)},
		{"PIPEGATE_MAX_CONCURRENT", CONFIG_BROKER, 256, 1, 65535, 1, AT(max_concurrent)},
		{"PIPEGATE_MAX_WEBSOCKETS", CONFIG_BROKER, 1024, 0, 65535, 1, AT(max_websockets)},
		{"PIPEGATE_MAX_TUNNELS", CONFIG_BROKER, 64, 1, 65535, 1, AT(max_tunnels)},
		{"PIPEGATE_MAX_BUFFER_BYTES_PER_ID", CONFIG_BROKER, 64 << 20, 1 << 20,
		 INT64_C(1) << 40, 1, AT(max_buffer_bytes_per_id)},
		{"PIPEGATE_V1_MESSAGE_BYTES", CONFIG_BROKER, 1048576, 1024, 64 << 20, 1,
		 AT(v1_message_bytes)},
		{"PIPEGATE_RESPONSE_TIMEOUT", CONFIG_BROKER, 300, 1, YEAR_SECONDS, 1000,
		 AT(response_timeout_ms)},
		{"PIPEGATE_IDLE_TIMEOUT", CONFIG_BROKER, 300, 1, YEAR_SECONDS, 1000,
		 AT(idle_timeout_ms)},
		{"PIPEGATE_OFFLINE_WAIT", CONFIG_BROKER, 5, 0, YEAR_SECONDS, 1000,
		 AT(offline_wait_ms)},
		{"PIPEGATE_DRAIN_SECONDS", CONFIG_BROKER, 10, 0, YEAR_SECONDS, 1000, AT(drain_ms)},
		{"PIPEGATE_WEBSOCKET_PING", CONFIG_BROKER, 60, 1, YEAR_SECONDS, 1000,
		 AT(websocket_ping_ms)},
	};

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		const struct number_key *k = &keys[i];
		int64_t value = k->standard;
		if ((k->readers & program) &&
		    cli_number_variable(k->name, k->standard, k->least, k->most, &value) != 0)
			return EXIT_CONFIG;
		*(int64_t *)((char *)c + k->offset) = value * k->unit;
	}
	return 0;
}

static int load_texts(struct config *c, enum config_for program)
{
	const unsigned both = CONFIG_BROKER | CONFIG_TOKEN;
	const struct text_key keys[] = {
		{"PIPEGATE_JWT_ISSUER", both, "pipegate", AT(jwt_issuer)},
		{"PIPEGATE_JWT_AUDIENCE", both, "pipegate", AT(jwt_audience)},
		{"PIPEGATE_CONNECTION_ID", CONFIG_TOKEN, NULL, AT(connection_id)},
		{"PIPEGATE_LISTEN", CONFIG_BROKER, "127.0.0.1:8000", AT(listen)},
		{"PIPEGATE_GATE", CONFIG_BROKER, "ipc:///run/pipegate/gate.sock", AT(gate)},
		{"PIPEGATE_ADMIN", CONFIG_BROKER, NULL, AT(admin)},
	};

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		const struct text_key *k = &keys[i];
		const char *text = (k->readers & program) ? getenv(k->name) : NULL;
		if (text != NULL && *text == '\0' && k->standard == NULL)
			text = NULL; /* an empty optional variable is an absent one */
		if (text != NULL && *text == '\0')
			return cli_complain(k->name, "empty", text);
		*(const char **)((char *)c + k->offset) = text ? text : k->standard;
	}
	return 0;
}

static bool algorithm_by_name(const char *name, enum jwt_hmac *out)
{
	static const char *const names[] = {"HS256", "HS384", "HS512"};

	for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum jwt_hmac)i;
			return true;
		}
	}
	return false;
}

static int load_algorithms(struct config *c)
{
	const char *name = "PIPEGATE_JWT_ALGORITHMS";
	const char *text = getenv(name);

	if (text == NULL)
		return cli_complain(name, "not set; for example [\"HS256\"]", NULL);
	json_t *list = json_loads(text, 0, NULL);
	size_t count = json_array_size(list); /* 0 for NULL and for anything but a list */
	int result = 0;

	if (count == 0)
		result = cli_complain(name, "not a JSON list such as [\"HS256\"]", text);
	for (size_t i = 0; result == 0 && i < count; i++) {
		enum jwt_hmac algorithm;
		bool repeated = false;
		if (!algorithm_by_name(json_string_value(json_array_get(list, i)), &algorithm)) {
			result = cli_complain(name, "only HS256, HS384 and HS512 are possible",
					      text);
			break;
		}
		for (size_t j = 0; j < c->jwt_algorithm_count; j++)
			repeated = repeated || c->jwt_algorithms[j] == algorithm;
		if (!repeated)
			c->jwt_algorithms[c->jwt_algorithm_count++] = algorithm;
	}
	json_decref(list);
	return result;
}

int config_from_environment(struct config *c, enum config_for program)
{
	*c = (struct config){.jwt_secret = getenv("PIPEGATE_JWT_SECRET")};

	if (c->jwt_secret == NULL || *c->jwt_secret == '\0')
		return cli_complain("PIPEGATE_JWT_SECRET", "not set", NULL);
	int result = load_algorithms(c);
	if (result == 0)
		result = load_numbers(c, program);
	if (result == 0)
		result = load_texts(c, program);
	if (result == 0 && c->connection_id != NULL &&
	    !id_connection_valid(c->connection_id, strlen(c->connection_id)))
		result = cli_complain("PIPEGATE_CONNECTION_ID", "not 1 to 64 of A-Z a-z 0-9 _ -",
				      c->connection_id);
	return result;
}

int config_check_endpoints(const struct config *c)
{
	const char *fault = cli_gate_fault(c->gate);

	if (fault != NULL)
		return cli_complain("--gate (PIPEGATE_GATE)", fault, c->gate);
	if (!endpoint_valid(c->listen))
		return cli_complain("--listen (PIPEGATE_LISTEN)", "neither ADDR:PORT nor unix:PATH",
				    c->listen);
	if (c->admin != NULL && !endpoint_valid(c->admin))
		return cli_complain("PIPEGATE_ADMIN", "neither ADDR:PORT nor unix:PATH", c->admin);
	if (c->socket_group != NULL && getgrnam(c->socket_group) == NULL)
		return cli_complain("--socket-group", "no such group", c->socket_group);
	return 0;
}
