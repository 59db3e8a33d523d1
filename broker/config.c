/* broker/config.c - see config.h. */
#include "broker/config.h"

#include "common/endpoint.h"
#include "common/id.h"

#include <grp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define YEAR_SECONDS (366 * 24 * 3600)
#define AT(member)   .offset = offsetof(struct config, member)

static const char *ids_fault(const char *text)
{
	const char *at = text;
	size_t bytes;

	do {
		bytes = strcspn(at, ",");
		size_t id_bytes = bytes > 1 && at[bytes - 1] == '*' ? bytes - 1 : bytes;
		if (!id_connection_valid(at, id_bytes))
			return "not a list such as a,b,team-* of ids and of beginnings of ids";
		at += bytes + 1;
	} while (at[-1] != '\0');
	return NULL;
}

#define TOKEN_SETTINGS                                                                             \
	{SETTING_RAW, .variable = "PIPEGATE_JWT_SECRET", AT(jwt_secret),                           \
	 .help = "signs and checks tokens (required if there are no key files)"},                  \
		{SETTING_RAW, .variable = "PIPEGATE_JWT_ALGORITHMS", AT(jwt_algorithms_json),      \
		 .help = "JSON list of HS256, RS256, ES256 (also 384, 512) and EdDSA (required)"}, \
		{SETTING_TEXT, .variable = "PIPEGATE_JWT_ISSUER", .standard = "pipegate",          \
		 AT(jwt_issuer), .help = "the claim iss"},                                         \
	{                                                                                          \
		SETTING_TEXT, .variable = "PIPEGATE_JWT_AUDIENCE", .standard = "pipegate",         \
			      AT(jwt_audience), .help = "the claim aud"                            \
	}

/* clang-format off */
const struct setting config_broker_settings[] = {
	{SETTING_RAW, .flag = "listen", .argument = "ADDR:PORT|unix:PATH", .variable = "PIPEGATE_LISTEN",
	 AT(listen), .help = "where tunnels connect (default: the socket that systemd hands over, or else "
	 CONFIG_LISTEN ")"},
	{SETTING_TEXT, .flag = "gate", .argument = "ENDPOINT", .variable = "PIPEGATE_GATE",
	 .standard = "ipc:///run/pipegate/gate.sock", AT(gate), .help = "ZeroMQ endpoint for responders"},
	{SETTING_TEXT, .flag = "socket-group", .argument = "NAME", AT(socket_group),
	 .help = "group of the unix sockets made (mode 0660)"},
	{SETTING_SWITCH, .flag = "check", AT(check_only), .help = "check the configuration and exit"},
	TOKEN_SETTINGS,
	{SETTING_TEXT, .variable = "PIPEGATE_JWT_KEYS", AT(jwt_keys),
	 .help = "file or directory of keys that check tokens: PEM, or JWK Set"},
	{SETTING_TEXT, .variable = "PIPEGATE_STATE", AT(state),
	 .help = "directory that keeps revocations over a restart; off by default"},
	{SETTING_TEXT, .variable = "PIPEGATE_CONTROL", AT(control),
	 .help = "unix:PATH of the socket for pipegate-ctl; off by default"},
	{SETTING_TEXT, .variable = "PIPEGATE_CONTROL_GROUP", AT(control_group),
	 .help = "group of that socket; by default the group of the process"},
	{SETTING_TEXT, .variable = "PIPEGATE_HOOK", AT(hook),
	 .help = "program that is run as PROGRAM online|offline ID when a tunnel comes or goes"},
	{SETTING_TEXT, .variable = "PIPEGATE_ADMIN", AT(admin),
	 .help = "ADDR:PORT or unix:PATH of GET /metrics; off by default"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_BODY_BYTES", .standard = "10485760", 0, INT64_MAX,
	 AT(max_body_bytes), .help = "a larger request body gets 413; 0: no limit"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_QUEUE_DEPTH", .standard = "100", 0, 1000000,
	 AT(max_queue_depth), .help = "requests that may wait for one connection id"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_CONCURRENT", .standard = "256", 1, 65535,
	 AT(max_concurrent), .help = "requests that may run on one tunnel"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_WEBSOCKETS", .standard = "1024", 0, 65535,
	 AT(max_websockets), .help = "callers' WebSockets on one tunnel"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_TUNNELS", .standard = "64", 1, 65535,
	 AT(max_tunnels), .help = "tunnels of one connection id"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_BUFFER_BYTES_PER_ID", .standard = "67108864", 1 << 20,
	 INT64_C(1) << 40, AT(max_buffer_bytes_per_id), .help = "bytes held for one connection id"},
	{SETTING_NUMBER, .variable = "PIPEGATE_BUFFER_BYTES", .standard = "67108864", 0, INT64_C(1) << 40,
	 AT(buffer_bytes), .help = "by how much all receive windows together may grow; 0: not at all"},
	{SETTING_NUMBER, .variable = "PIPEGATE_V1_MESSAGE_BYTES", .standard = "1048576", 1024, 64 << 20,
	 AT(v1_message_bytes), .help = "largest message to a client of protocol v1"},
	{SETTING_NUMBER, .variable = "PIPEGATE_RESPONSE_TIMEOUT", .standard = "300", 1, YEAR_SECONDS, 1000,
	 AT(response_timeout_ms), .help = "seconds to the response head"},
	{SETTING_NUMBER, .variable = "PIPEGATE_IDLE_TIMEOUT", .standard = "300", 1, YEAR_SECONDS, 1000,
	 AT(idle_timeout_ms), .help = "seconds without a byte after the head"},
	{SETTING_NUMBER, .variable = "PIPEGATE_OFFLINE_WAIT", .standard = "5", 0, YEAR_SECONDS, 1000,
	 AT(offline_wait_ms), .help = "seconds that a request waits for a disconnected tunnel"},
	{SETTING_NUMBER, .variable = "PIPEGATE_DRAIN_SECONDS", .standard = "10", 0, YEAR_SECONDS, 1000,
	 AT(drain_ms), .help = "seconds for running requests when the broker stops"},
	{SETTING_NUMBER, .variable = "PIPEGATE_WEBSOCKET_PING", .standard = "60", 1, YEAR_SECONDS, 1000,
	 AT(websocket_ping_ms), .help = "seconds of silence before a caller's WebSocket is pinged"},
	SETTINGS_LOG,
	{.type = SETTING_END},
};

const struct setting config_token_settings[] = {
	{SETTING_TEXT, .letter = 'c', .flag = "connection-id", .argument = "ID",
	 .variable = "PIPEGATE_CONNECTION_ID", .fault = id_connection_fault, AT(connection_id),
	 .help = "name of the tunnel: 1 to 64 of A-Z a-z 0-9 _ -; a random one by default"},
	{SETTING_NUMBER, .flag = "ttl-days", .argument = "N", .variable = "PIPEGATE_JWT_TTL_DAYS",
	 .standard = "21", 1, 36500, AT(jwt_ttl_days), .help = "days until the token expires"},
	{SETTING_TEXT, .flag = "ids", .argument = "A,B,TEAM-*", .fault = ids_fault, AT(token_ids),
	 .help = "other ids, and beginnings of ids, that the token is for"},
	{SETTING_NUMBER, .flag = "max-running", .argument = "N", .least = 1, .most = 65535,
	 AT(token_max_running), .help = "requests that may run on one tunnel of this token"},
	{SETTING_NUMBER, .flag = "max-body", .argument = "BYTES", .least = 1, .most = INT64_MAX,
	 AT(token_max_body_bytes), .help = "a larger request body gets 413"},
	{SETTING_SWITCH, .flag = "json", AT(json), .help = "print one JSON object instead of two lines"},
	TOKEN_SETTINGS,
	{SETTING_TEXT, .flag = "key", .argument = "FILE", .variable = "PIPEGATE_JWT_SIGNING_KEY",
	 AT(signing_key), .help = "PEM file of the private key that signs; by default the secret does"},
	{.type = SETTING_END},
};
/* clang-format on */

static int read_algorithms(struct config *c)
{
	const char *name = "PIPEGATE_JWT_ALGORITHMS";
	const char *text = c->jwt_algorithms_json;

	if (text == NULL)
		return cli_complain(name, "not set; for example [\"HS256\"]", NULL);
	json_t *list = json_loads(text, 0, NULL);
	size_t count = json_array_size(list); /* 0 if it is not a list */
	int result = 0;

	if (count == 0)
		result = cli_complain(name, "not a JSON list such as [\"HS256\"]", text);
	for (size_t i = 0; result == 0 && i < count; i++) {
		enum key_algorithm algorithm;
		bool repeated = false;
		if (!key_algorithm_by_name(json_string_value(json_array_get(list, i)),
					   &algorithm)) {
			result = cli_complain(name,
					      "only HS256, HS384, HS512, RS256, RS384, RS512, "
					      "ES256, ES384, ES512 and EdDSA are supported",
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

static bool allows_hmac(const struct config *c)
{
	for (size_t i = 0; i < c->jwt_algorithm_count; i++) {
		if (c->jwt_algorithms[i] <= KEY_HS512)
			return true;
	}
	return false;
}

int config_read(struct config *c, const struct program *p, int argc, char **argv)
{
	*c = (struct config){0};

	int result = options_read(p, argc, argv, c);
	if (result >= 0)
		return result;
	if ((c->jwt_secret == NULL || *c->jwt_secret == '\0') && c->jwt_keys == NULL &&
	    c->signing_key == NULL)
		return cli_complain("PIPEGATE_JWT_SECRET", "not set", NULL);
	result = read_algorithms(c);
	if (result == 0 && c->jwt_keys == NULL && c->signing_key == NULL && !allows_hmac(c))
		result = cli_complain("PIPEGATE_JWT_ALGORITHMS",
				      "PIPEGATE_JWT_SECRET can do none of them: add HS256, or use "
				      "PIPEGATE_JWT_KEYS",
				      c->jwt_algorithms_json);
	return result == 0 ? -1 : result;
}

bool config_signing_algorithm(const struct config *c, const struct key *signer,
			      enum key_algorithm *out)
{
	for (size_t i = 0; i < c->jwt_algorithm_count; i++) {
		if (key_serves(signer, c->jwt_algorithms[i])) {
			*out = c->jwt_algorithms[i];
			return true;
		}
	}
	return false;
}

int config_check_endpoints(const struct config *c)
{
	const char *fault = cli_gate_fault(c->gate);

	if (fault != NULL)
		return cli_complain("--gate (PIPEGATE_GATE)", fault, c->gate);
	if (c->listen != NULL && !endpoint_valid(c->listen))
		return cli_complain("--listen (PIPEGATE_LISTEN)", "neither ADDR:PORT nor unix:PATH",
				    c->listen);
	if (c->admin != NULL && !endpoint_valid(c->admin))
		return cli_complain("PIPEGATE_ADMIN", "neither ADDR:PORT nor unix:PATH", c->admin);
	if (c->control != NULL &&
	    (strncmp(c->control, "unix:", 5) != 0 || !endpoint_valid(c->control)))
		return cli_complain("PIPEGATE_CONTROL", "not unix:PATH", c->control);
	if (c->socket_group != NULL && getgrnam(c->socket_group) == NULL)
		return cli_complain("--socket-group", "no such group", c->socket_group);
	if (c->control_group != NULL && getgrnam(c->control_group) == NULL)
		return cli_complain("PIPEGATE_CONTROL_GROUP", "no such group", c->control_group);
	return 0;
}
