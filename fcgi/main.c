/* fcgi/main.c - pipegate-fcgi: options, the listening socket, signals; then the server. */
#include "common/cli.h"
#include "common/endpoint.h"
#include "common/log.h"
#include "common/notify.h"
#include "fcgi/cgi.h"
#include "fcgi/server.h"
#include "fcgi/gate_link.h"

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	THREADS_STANDARD = 1024,
	THREADS_MAX = 4096,
	DRAIN_MS = 10000,
	REQUEST_DESCRIPTORS = 3, /* a REQ socket, a connection, and one that is kept idle */
	OTHER_DESCRIPTORS = 32,
	KEPT_CONNECTIONS = 1024,
	BACKLOG = 1024,
};

static const char usage[] =
	"usage: pipegate-fcgi [--listen unix:PATH|ADDR:PORT] [--gate ENDPOINT]\n"
	"                     [--socket-group NAME] [--threads N]\n"
	"FastCGI responder: brings public requests from the web server to pipegate-broker.\n"
	"\n"
	"      --listen SPEC        where the web server connects (default: the socket on\n"
	"                           descriptor 0, or the one that systemd hands over)\n"
	"      --gate ENDPOINT      ZeroMQ endpoint of the broker\n"
	"                           (default: ipc:///run/pipegate/gate.sock)\n"
	"      --socket-group NAME  group of the unix socket made (mode 0660)\n"
	"      --threads N          most requests at one time (default: 1024)\n"
	"  -v, --verbose            log more\n"
	"  -h, --help               this text\n"
	"      --version            versions of the program and its libraries\n"
	"\n"
	"Environment: PIPEGATE_GATE, PIPEGATE_MAX_BODY_BYTES. Without a socket, and with\n"
	"GATEWAY_INTERFACE set, it serves the one request of a CGI program.\n";

struct settings {
	const char *listen; /* NULL: a descriptor that we were given */
	const char *gate;
	const char *socket_group;
	int64_t threads;
	int64_t max_body_bytes;
};

/* -1: go on. Otherwise the exit code. */
static int parse_arguments(int argc, char **argv, struct settings *s)
{
	enum { OPT_LISTEN = 1000, OPT_GATE, OPT_GROUP, OPT_THREADS, OPT_VERSION };
	static const struct option options[] = {
		{"listen", required_argument, NULL, OPT_LISTEN},
		{"gate", required_argument, NULL, OPT_GATE},
		{"socket-group", required_argument, NULL, OPT_GROUP},
		{"threads", required_argument, NULL, OPT_THREADS},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPT_VERSION},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = cli_option(argc, argv, "vh", options)) != -1) {
		switch (option) {
		case OPT_LISTEN:
			s->listen = optarg;
			break;
		case OPT_GATE:
			s->gate = optarg;
			break;
		case OPT_GROUP:
			s->socket_group = optarg;
			break;
		case OPT_THREADS:
			if (!cli_parse_number(optarg, 1, THREADS_MAX, &s->threads)) {
				cli_complain("--threads", "not a whole number from 1 to 4096",
					     optarg);
				return EXIT_USAGE;
			}
			break;
		case 'v':
			log_verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			printf("pipegate-fcgi %s (libfcgi, libzmq %s)\n", PIPEGATE_VERSION,
			       gate_link_library_version());
			return 0;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_misuse("unexpected argument", argv[optind]);
	return -1;
}

/* 0 or EXIT_CONFIG. */
static int check(struct settings *s)
{
	const char *fault;

	if (s->gate == NULL)
		s->gate = getenv("PIPEGATE_GATE");
	if (s->gate == NULL)
		s->gate = "ipc:///run/pipegate/gate.sock";
	fault = cli_gate_fault(s->gate);
	if (fault != NULL)
		return cli_complain("--gate (PIPEGATE_GATE)", fault, s->gate);
	if (s->listen != NULL && !endpoint_valid(s->listen))
		return cli_complain("--listen", "neither unix:PATH nor ADDR:PORT", s->listen);
	if (s->socket_group != NULL && getgrnam(s->socket_group) == NULL)
		return cli_complain("--socket-group", "no such group", s->socket_group);
	return cli_number_variable("PIPEGATE_MAX_BODY_BYTES", 10485760, 0, INT64_MAX,
				   &s->max_body_bytes);
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t bytes = sizeof value;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &bytes) == 0 && value;
}

/* The listening socket; -1 after one line on stderr. */
static int take_socket(const struct settings *s)
{
	char why[160];

	if (s->listen != NULL) {
		int fd = endpoint_listen(s->listen, s->socket_group, BACKLOG, why, sizeof why);
		if (fd < 0)
			cli_complain("--listen", why, s->listen);
		return fd;
	}
	if (endpoint_inherited() == 1)
		return endpoint_listen(ENDPOINT_INHERITED, NULL, BACKLOG, why, sizeof why);
	if (is_listening(STDIN_FILENO))
		return STDIN_FILENO;
	cli_complain("--listen", "not given, and descriptor 0 is no listening socket", NULL);
	return -1;
}

static void show_start(const struct settings *s, int listen_fd)
{
	char where[ENDPOINT_TEXT_BYTES] = "inherited";

	if (s->listen != NULL)
		endpoint_show(listen_fd, s->listen, where);
	log_info("responder.start listen=%s gate=%s threads=%lld", where, s->gate,
		 (long long)s->threads);
	notify_service_manager("READY=1");
}

/* A descriptor that tells of the signals: SIGTERM and SIGINT stop, SIGUSR1 dumps. Blocks them,
 * for all threads to come. */
static int watch_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	CHECK(fd >= 0);
	return fd;
}

/* New connections are refused from now on, and none is lost that was not. What waits at a TCP
 * socket is reset when that is shut down, so it is taken before; at a unix socket it can be
 * taken after. */
static void leave_socket(const struct settings *s, struct server *server, int listen_fd)
{
	if (strncmp(s->listen, "unix:", 5) == 0) {
		unlink(s->listen + 5);
		shutdown(listen_fd, SHUT_RD);
		server_take_rest(server);
	} else {
		server_take_rest(server);
		shutdown(listen_fd, SHUT_RD);
	}
}

static int serve_until_told(const struct settings *s, struct server *server, int listen_fd)
{
	show_start(s, listen_fd);
	server_run(server, listen_fd);
	log_info("responder.stop");
	notify_service_manager("STOPPING=1");
	if (s->listen != NULL) /* nobody else has it */
		leave_socket(s, server, listen_fd);
	if (!server_drain(server, DRAIN_MS))
		_exit(0); /* the web server sees those that are left cut */
	server_destroy(&server);
	return 0;
}

static int64_t descriptors(void)
{
	struct rlimit limit;

	cli_raise_descriptor_limit();
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	return limit.rlim_cur < INT32_MAX ? (int64_t)limit.rlim_cur : INT32_MAX;
}

/* A request that cannot have its descriptors had better wait for another to end. Web servers
 * that keep connections have one in each of their threads or processes, whatever --threads is;
 * each costs a descriptor and little else. */
static void bound(struct settings *s, struct server_settings *server)
{
	int64_t left = descriptors() - OTHER_DESCRIPTORS;
	int64_t most = left <= REQUEST_DESCRIPTORS ? 1 : left / REQUEST_DESCRIPTORS;

	if (s->threads > most) {
		log_warn("responder.few_descriptors threads=%lld", (long long)most);
		s->threads = most;
	}
	int64_t kept = left - 2 * s->threads;
	if (kept > KEPT_CONNECTIONS)
		kept = KEPT_CONNECTIONS;
	if (kept < s->threads)
		kept = s->threads;
	server->slots = (size_t)s->threads;
	server->connections = (size_t)(s->threads + kept);
}

int main(int argc, char **argv)
{
	struct settings s = {.threads = THREADS_STANDARD};
	char why[160];
	int listen_fd = -1;

	cli_program = "pipegate-fcgi";
	int result = parse_arguments(argc, argv, &s);
	if (result >= 0)
		return result;
	result = cli_log_variable();
	if (result == 0)
		result = check(&s);
	if (result != 0)
		return result;
	/* Apache's mod_cgid gives a CGI program its request by a socket too, but that one does
	 * not listen. */
	bool plain = s.listen == NULL && getenv("GATEWAY_INTERFACE") != NULL &&
		     !is_listening(STDIN_FILENO) && endpoint_inherited() != 1;
	if (!plain && (listen_fd = take_socket(&s)) < 0)
		return EXIT_CONFIG;

	cgi_init();
	signal(SIGPIPE, SIG_IGN);
	/* After libfcgi's own handlers. The one request of a CGI program ends with it. */
	if (plain) {
		/* The web server's error log, a line for each request: only where it was asked
		 * for. */
		if (getenv("PIPEGATE_LOG") == NULL)
			log_mode = LOG_QUIET;
		signal(SIGTERM, SIG_DFL);
		signal(SIGUSR1, SIG_DFL);
	}
	struct server_settings settings = {
		.gate = s.gate,
		.max_body_bytes = s.max_body_bytes,
		.signal_fd = plain ? -1 : watch_signals(),
	};
	if (plain)
		s.threads = 1;
	bound(&s, &settings);
	struct server *server = server_new(&settings, why, sizeof why);
	if (server == NULL)
		return cli_complain("--gate (PIPEGATE_GATE)", why, s.gate);
	if (!plain)
		return serve_until_told(&s, server, listen_fd);
	server_serve_plain(server);
	server_destroy(&server);
	return 0;
}
