/* The environment of the broker and of pipegate-token, as "NAME=value" lines. */
#include "broker/config.h"

#include "common/endpoint.h"
#include "common/id.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct config *c)
{
	CHECK((c->jwt_secret != NULL && *c->jwt_secret != '\0') || c->jwt_keys != NULL ||
	      c->signing_key != NULL);
	CHECK(*c->jwt_issuer != '\0' && *c->jwt_audience != '\0');
	CHECK(c->jwt_algorithm_count >= 1 && c->jwt_algorithm_count <= KEY_ALGORITHM_COUNT);
	for (size_t i = 0; i < c->jwt_algorithm_count; i++) {
		CHECK(c->jwt_algorithms[i] <= KEY_EdDSA);
		CHECK(i == 0 || c->jwt_algorithms[i] != c->jwt_algorithms[0]);
	}
}

static void check_broker(const struct config *c)
{
	check(c);
	CHECK(c->max_body_bytes >= 0 && c->max_queue_depth >= 0 && c->max_concurrent >= 1);
	CHECK(c->max_concurrent <= 65535 && c->v1_message_bytes >= 1024);
	CHECK(c->response_timeout_ms >= 1000 && c->idle_timeout_ms >= 1000);
	CHECK(c->offline_wait_ms >= 0 && c->drain_ms >= 0);
	if (config_check_endpoints(c) != 0)
		return;
	CHECK(c->listen == NULL || endpoint_valid(c->listen));
	CHECK(c->admin == NULL || endpoint_valid(c->admin));
	CHECK(cli_gate_fault(c->gate) == NULL);
}

static void check_token(const struct config *c)
{
	check(c);
	CHECK(c->jwt_ttl_days >= 1 && c->jwt_ttl_days <= 36500);
	CHECK(c->connection_id == NULL ||
	      id_connection_valid(c->connection_id, strlen(c->connection_id)));
}

static const struct program broker = {.name = "pipegate-broker",
				      .settings = config_broker_settings};
static const struct program token = {.name = "pipegate-token", .settings = config_token_settings};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	char name[] = "x", *argv[] = {name, NULL};
	struct config c;
	char *line;

	clearenv();
	while ((line = input_line(&in)) != NULL) {
		char *equals = strchr(line, '=');
		if (equals != NULL && equals > line && strncmp(line, "PIPEGATE_", 9) == 0) {
			*equals = '\0';
			setenv(line, equals + 1, 1);
		}
		free(line);
	}
	if (config_read(&c, &broker, 1, argv) < 0)
		check_broker(&c);
	if (config_read(&c, &token, 1, argv) < 0)
		check_token(&c);
	return 0;
}
