/* broker/main.c - pipegate-broker: reads its configuration and calls broker_run(). */
#include "broker/auth.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/gate.h"
#include "broker/hook.h"
#include "broker/ws.h"
#include "common/endpoint.h"
#include "common/heap.h"
#include "common/httpd.h"
#include "common/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static void print_version(void)
{
	printf("pipegate-broker %s (libwebsockets %s, libzmq %s, libuv %s, libjwt %s, jansson "
	       "%s, libmicrohttpd %s)\n",
	       PIPEGATE_VERSION, ws_library_version(), gate_library_version(), uv_version_string(),
	       auth_library_version(), JANSSON_VERSION, httpd_library_version());
}

static const struct program program = {
	.name = "pipegate-broker",
	.summary = "Owns the WebSocket tunnels, and hands them the requests that pipegate-fcgi "
		   "brings.",
	.settings = config_broker_settings,
	.print_version = print_version,
};

/* Chooses the listener: the flag or variable, else the socket that systemd passes, else the
 * default. Returns 0 or the exit code. */
static int choose_listener(struct config *config)
{
	int inherited = endpoint_inherited();

	if (inherited != 0 && config->listen != NULL)
		log_warn("listener.inherited_ignored reason=\"an address is configured\"");
	else if (inherited < 0)
		return cli_complain("LISTEN_FDS", "not one listening stream socket",
				    getenv("LISTEN_FDS"));
	else if (inherited > 0)
		config->listen = ENDPOINT_INHERITED;
	else if (config->listen == NULL)
		config->listen = CONFIG_LISTEN;
	return 0;
}

static int check_files(const struct config *config)
{
	char fault[512];
	const char *hook = config->hook != NULL ? hook_fault(config->hook) : NULL;
	struct keyring *keys = keyring_load(config, fault, sizeof fault);

	if (keys == NULL)
		return cli_complain("PIPEGATE_JWT_KEYS", fault, config->jwt_keys);
	keyring_free(&keys);
	return hook != NULL ? cli_complain("PIPEGATE_HOOK", hook, config->hook) : 0;
}

int main(int argc, char **argv)
{
	struct config config;

	heap_init();
	int result = config_read(&config, &program, argc, argv);
	if (result >= 0)
		return result;
	result = config_check_endpoints(&config);
	if (result == 0)
		result = choose_listener(&config);
	if (result == 0 && config.check_only)
		return check_files(&config);
	if (result != 0)
		return result;
	return broker_run(&config);
}
