/* fcgi/main.c - pipegate-fcgi: options, the listening socket, signals; then the server. */
#include "common/cli.h"
#include "common/endpoint.h"
#include "common/heap.h"
#include "common/log.h"
#include "common/log_output.h"
#include "common/notify.h"
#include "common/options.h"
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
	DRAIN_MS = 10000,
	REQUEST_DESCRIPTORS = 3, /* a REQ socket, a connection, and an idle connection */
	OTHER_DESCRIPTORS = 32,
	KEPT_CONNECTIONS = 1024,
	BACKLOG = 1024,
};

struct responder_settings {
	const char *listen; /* NULL: use an inherited descriptor */
	const char *gate;
	const char *socket_group;
	int64_t threads;
	int64_t max_body_bytes;
};

#define AT(member) .offset = offsetof(struct responder_settings, member)
/* clang-format off */
static const struct setting settings[] = {
	{SETTING_TEXT, .flag = "listen", .argument = "unix:PATH|ADDR:PORT", AT(listen),
	 .help = "where the web server connects; without it, the socket that systemd passes, or the one on "
	 "descriptor 0"},
	{SETTING_RAW, .flag = "gate", .argument = "ENDPOINT", .variable = "PIPEGATE_GATE",
	 .standard = "ipc:///run/pipegate/gate.sock", AT(gate), .help = "ZeroMQ endpoint of the broker"},
	{SETTING_TEXT, .flag = "socket-group", .argument = "NAME", AT(socket_group),
	 .help = "group of the unix socket made (mode 0660)"},
	{SETTING_NUMBER, .flag = "threads", .argument = "N", .standard = "1024", 1, 4096, AT(threads),
	 .help = "most concurrent requests, 1 to 4096"},
	{SETTING_NUMBER, .variable = "PIPEGATE_MAX_BODY_BYTES", .standard = "10485760", 0, INT64_MAX,
	 AT(max_body_bytes), .help = "a larger request body gets 413; 0: no limit"},
	SETTINGS_LOG,
	{.type = SETTING_END},
};
/* clang-format on */

static void print_version(void)
{
	printf("pipegate-fcgi %s (libfcgi, libzmq %s)\n", PIPEGATE_VERSION,
	       gate_link_library_version());
}

static const struct program program = {
	.name = "pipegate-fcgi",
	.summary =
		"FastCGI responder: passes public requests from the web server to pipegate-broker.",
	.settings = settings,
	.notes = "Without a socket, and with GATEWAY_INTERFACE set, it serves the one request of a "
		 "CGI\n"
		 "program, and logs it only where PIPEGATE_LOG is set.",
	.print_version = print_version,
};

/* Checks the settings. Returns 0 or EXIT_CONFIG. */
static int check(const struct responder_settings *s)
{
	const char *fault = cli_gate_fault(s->gate);

	if (fault != NULL)
		return cli_complain("--gate (PIPEGATE_GATE)", fault, s->gate);
	if (s->listen != NULL && !endpoint_valid(s->listen))
		return cli_complain("--listen", "neither unix:PATH nor ADDR:PORT", s->listen);
	if (s->socket_group != NULL && getgrnam(s->socket_group) == NULL)
		return cli_complain("--socket-group", "no such group", s->socket_group);
	return 0;
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t bytes = sizeof value;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &bytes) == 0 && value;
}

/* Returns the listening socket, or -1 after one line on stderr. */
static int open_socket(const struct responder_settings *s)
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

static void show_start(const struct responder_settings *s, int listen_fd)
{
	char where[ENDPOINT_TEXT_BYTES] = "inherited";

	if (s->listen != NULL)
		endpoint_show(listen_fd, s->listen, where);
	log_info("responder.start listen=%s gate=%s threads=%lld", where, s->gate,
		 (long long)s->threads);
	notify_service_manager("READY=1");
}

/* Returns a signalfd: SIGTERM and SIGINT stop the program, SIGUSR1 dumps its requests. Blocks these
 * signals in all later threads. */
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

/* Refuses new connections without losing a waiting one. Shutting down a TCP socket resets the
 * connections that wait there, so they are accepted before; at a unix socket they can be accepted
 * after. */
static void close_socket(const struct responder_settings *s, struct server *server, int listen_fd)
{
	if (strncmp(s->listen, "unix:", 5) == 0) {
		unlink(s->listen + 5);
		shutdown(listen_fd, SHUT_RD);
		server_accept_waiting(server);
	} else {
		server_accept_waiting(server);
		shutdown(listen_fd, SHUT_RD);
	}
}

static int serve_until_stopped(const struct responder_settings *s, struct server *server,
			       int listen_fd)
{
	show_start(s, listen_fd);
	server_run(server, listen_fd);
	log_info("responder.stop");
	notify_service_manager("STOPPING=1");
	if (s->listen != NULL) /* no other process has it */
		close_socket(s, server, listen_fd);
	if (!server_drain(server, DRAIN_MS)) {
		log_output_finish();
		_exit(0); /* the web server sees the remaining responses as cut */
	}
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

/* Checks the descriptor limit: a request without descriptors must wait for another to end. Web
 * servers that keep connections hold one in each of their threads or processes, whatever --threads
 * is; each costs a descriptor and little else. */
static void limit_to_descriptors(struct responder_settings *s, struct server_settings *server)
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
	struct responder_settings s = {0};
	char why[160];
	int listen_fd = -1;

	heap_init();
	int result = options_read(&program, argc, argv, &s);
	if (result >= 0)
		return result;
	result = check(&s);
	if (result != 0)
		return result;
	/* Apache's mod_cgid also passes a CGI program its request over a socket, but that one does
	 * not listen. */
	bool plain = s.listen == NULL && getenv("GATEWAY_INTERFACE") != NULL &&
		     !is_listening(STDIN_FILENO) && endpoint_inherited() != 1;
	if (!plain && (listen_fd = open_socket(&s)) < 0)
		return EXIT_CONFIG;

	cgi_init();
	signal(SIGPIPE, SIG_IGN);
	/* Set after libfcgi's own handlers. The one request of a CGI program ends with it. */
	if (plain) {
		/* stderr is the web server's error log: one line per request only if asked for. */
		if (getenv("PIPEGATE_LOG") == NULL)
			log_mode = LOG_QUIET;
		signal(SIGTERM, SIG_DFL);
		signal(SIGUSR1, SIG_DFL);
	}
	struct server_settings server_settings = {
		.gate = s.gate,
		.max_body_bytes = s.max_body_bytes,
		.signal_fd = plain ? -1 : watch_signals(),
	};
	if (plain)
		s.threads = 1;
	limit_to_descriptors(&s, &server_settings);
	struct server *server = server_new(&server_settings, why, sizeof why);
	if (server == NULL)
		return cli_complain("--gate (PIPEGATE_GATE)", why, s.gate);
	if (!plain)
		return serve_until_stopped(&s, server, listen_fd);
	server_serve_plain(server);
	server_destroy(&server);
	return 0;
}
