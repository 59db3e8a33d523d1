/* broker/main.c - pipegate-broker: options, then config, then broker_run(); nothing else. */
#include "broker/auth.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/gate.h"
#include "broker/ws.h"
#include "common/endpoint.h"
#include "common/httpd.h"
#include "common/log.h"

#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { MMAP_FROM_BYTES = 256 * 1024 };

static const char usage[] =
	"usage: pipegate-broker [--listen ADDR:PORT|unix:PATH] [--gate ENDPOINT]\n"
	"                       [--socket-group NAME] [--check]\n"
	"Owns the WebSocket tunnels, and hands them the requests that pipegate-fcgi brings.\n"
	"\n"
	"      --listen SPEC        where tunnels connect (default: the socket that systemd\n"
	"                           hands over, or else 127.0.0.1:8000)\n"
	"      --gate ENDPOINT      ZeroMQ endpoint for responders\n"
	"                           (default: ipc:///run/pipegate/gate.sock)\n"
	"      --socket-group NAME  group of the unix sockets made (mode 0660)\n"
	"      --check              check the configuration and exit\n"
	"  -v, --verbose            log more\n"
	"  -h, --help               this text\n"
	"      --version            versions of the program and its libraries\n"
	"\n"
	"Environment: PIPEGATE_JWT_SECRET, PIPEGATE_JWT_ALGORITHMS (both required), and those of\n"
	"pipegate-broker(8).\n";

struct arguments {
	const char *listen, *gate, *socket_group;
	bool check;
};

static void print_version(void)
{
	printf("pipegate-broker %s (libwebsockets %s, libzmq %s, libuv %s, libjwt %s, jansson "
	       "%s, libmicrohttpd %s)\n",
	       PIPEGATE_VERSION, ws_library_version(), gate_library_version(), uv_version_string(),
	       auth_library_version(), JANSSON_VERSION, httpd_library_version());
}

/* -1: go on. Otherwise the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	enum { OPT_LISTEN = 1000, OPT_GATE, OPT_GROUP, OPT_CHECK, OPT_VERSION };
	static const struct option options[] = {
		{"listen", required_argument, NULL, OPT_LISTEN},
		{"gate", required_argument, NULL, OPT_GATE},
		{"socket-group", required_argument, NULL, OPT_GROUP},
		{"check", no_argument, NULL, OPT_CHECK},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPT_VERSION},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = cli_option(argc, argv, "vh", options)) != -1) {
		switch (option) {
		case OPT_LISTEN:
			a->listen = optarg;
			break;
		case OPT_GATE:
			a->gate = optarg;
			break;
		case OPT_GROUP:
			a->socket_group = optarg;
			break;
		case OPT_CHECK:
			a->check = true;
			break;
		case 'v':
			log_verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			print_version();
			return 0;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_misuse("unexpected argument", argv[optind]);
	return -1;
}

/* The listener: what a flag or variable says, else the socket that systemd hands over, else the default. */
static int choose_listener(const struct arguments *a, struct config *config)
{
	bool explicit = a->listen != NULL || getenv("PIPEGATE_LISTEN") != NULL;
	int inherited = endpoint_inherited();

	if (inherited != 0 && explicit)
		log_warn("listener.inherited_ignored reason=\"an address is configured\"");
	else if (inherited < 0)
		return cli_complain("LISTEN_FDS", "not one listening stream socket",
				    getenv("LISTEN_FDS"));
	else if (inherited > 0)
		config->listen = ENDPOINT_INHERITED;
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	struct config config;

	/* Buffers of messages go back to the kernel when they are freed, and grow without a copy: by itself
	 * glibc moves them to the heap, where small things above them keep them. */
	mallopt(M_MMAP_THRESHOLD, MMAP_FROM_BYTES);

	cli_program = "pipegate-broker";
	int result = parse_arguments(argc, argv, &a);
	if (result >= 0)
		return result;
	cli_flag_wins(a.listen, "PIPEGATE_LISTEN");
	cli_flag_wins(a.gate, "PIPEGATE_GATE");
	result = cli_log_variable();
	if (result != 0)
		return result;
	result = config_from_environment(&config, CONFIG_BROKER);
	if (result != 0)
		return result;
	if (a.listen != NULL)
		config.listen = a.listen;
	if (a.gate != NULL)
		config.gate = a.gate;
	config.socket_group = a.socket_group;
	result = config_check_endpoints(&config);
	if (result == 0)
		result = choose_listener(&a, &config);
	if (result != 0 || a.check)
		return result;
	return broker_run(&config);
}
