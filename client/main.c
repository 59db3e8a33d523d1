/* client/main.c - pipegate-client: reads the command line; client.c runs the client. */
#include "client/client.h"
#include "client/dialer.h"
#include "client/settings.h"
#include "client/v1.h"
#include "common/cli.h"
#include "common/heap.h"
#include "common/log.h"

#include <stdio.h>
#include <uv.h>

static void print_version(void)
{
	printf("pipegate-client %s (libcurl %s, libuv %s, jansson %s)\n", PIPEGATE_VERSION,
	       dialer_library_version(), uv_version_string(), v1_library_version());
}

static const struct program program = {
	.name = "pipegate-client",
	.summary = "Makes a local app reachable through a PipeGate server.",
	.settings = settings_table,
	.operands = settings_operands,
	.notes = "http_proxy, https_proxy, all_proxy and no_proxy are for the server, as for curl. "
		 "Exit code\n"
		 "77: the server refused the token.",
	.print_version = print_version,
};

static void warn(const struct settings *s)
{
	char shown[256];

	if (s->server.insecure)
		log_warn("tls.unchecked side=server: its certificate is not checked");
	if (s->target.insecure)
		log_warn("tls.unchecked side=target: its certificate is not checked");
	if (s->server.public_token_file != NULL)
		log_warn("token.public file=\"%s\": every user of this machine can read the token",
			 cli_show(shown, sizeof shown, s->server.public_token_file));
	if (s->server.id_removed)
		log_warn("server.url server=%s: SERVER_URL was the tunnel's public URL; the "
			 "connection id at its end was removed",
			 s->server.shown);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct settings settings;

	heap_init();
	int result = options_read(&program, argc, argv, &arguments);
	if (result >= 0)
		return result;
	result = settings_read(&settings, &arguments);
	if (result == 0) {
		warn(&settings);
		result = client_run(&settings);
	}
	settings_fini(&settings);
	return result;
}
