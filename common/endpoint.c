/* common/endpoint.c - see endpoint.h. */
#include "common/endpoint.h"

#include "common/cli.h"
#include "common/socket_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_FDS_START = 3 }; /* sd_listen_fds(3) */

/* Splits "host:port" or "[v6]:port". False: it is neither. */
static bool split(const char *spec, char host[128], char port[8])
{
	const char *colon = strrchr(spec, ':');

	if (colon == NULL || colon == spec || strlen(colon + 1) < 1 || strlen(colon + 1) > 5)
		return false;
	if (strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return false;
	size_t bytes = (size_t)(colon - spec);
	if (*spec == '[' && spec[bytes - 1] == ']') {
		spec++;
		bytes -= 2;
	} else if (memchr(spec, ':', bytes) != NULL) {
		return false;
	}
	if (bytes == 0 || bytes >= 128)
		return false;
	memcpy(host, spec, bytes);
	host[bytes] = '\0';
	strcpy(port, colon + 1);
	return atol(port) <= 65535;
}

bool endpoint_valid(const char *spec)
{
	char host[128], port[8];

	if (strncmp(spec, "unix:", 5) == 0)
		return spec[5] != '\0' && strlen(spec + 5) < 108;
	return split(spec, host, port);
}

static int listen_at(const struct addrinfo *a, int backlog)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static bool is_listening_stream(int fd)
{
	int listening = 0, type = 0;
	socklen_t bytes = sizeof listening;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &bytes) != 0 || !listening)
		return false;
	bytes = sizeof type;
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_STREAM;
}

int endpoint_inherited(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");

	if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != getpid())
		return 0;
	return strcmp(count, "1") == 0 && is_listening_stream(LISTEN_FDS_START) ? 1 : -1;
}

int endpoint_listen(const char *spec, const char *socket_group, int backlog, char *why,
		    size_t why_bytes)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	char host[128], port[8];

	if (strcmp(spec, ENDPOINT_INHERITED) == 0) {
		fcntl(LISTEN_FDS_START, F_SETFD, FD_CLOEXEC);
		return LISTEN_FDS_START;
	}
	if (strncmp(spec, "unix:", 5) == 0)
		return socket_claim_listen(spec + 5, socket_group, backlog, why, why_bytes);
	if (!split(spec, host, port)) {
		snprintf(why, why_bytes, "neither ADDR:PORT nor unix:PATH");
		return -1;
	}
	int error = getaddrinfo(host, port, &hints, &found);
	if (error != 0) {
		snprintf(why, why_bytes, "%s", gai_strerror(error));
		return -1;
	}
	int fd = listen_at(found, backlog);
	if (fd < 0)
		snprintf(why, why_bytes, "cannot listen: %s", strerror(errno));
	freeaddrinfo(found);
	return fd;
}

void endpoint_show(int fd, const char *spec, char out[ENDPOINT_TEXT_BYTES])
{
	union {
		struct sockaddr any;
		struct sockaddr_un path;
		/* Longer than sun_path, which need not end with a NUL. */
		struct sockaddr_storage storage;
	} address = {0};
	socklen_t bytes = sizeof address;
	char host[64], port[8];

	snprintf(out, ENDPOINT_TEXT_BYTES, "%s", spec);
	if (strncmp(spec, "unix:", 5) == 0 || getsockname(fd, &address.any, &bytes) != 0)
		return;
	if (address.any.sa_family == AF_UNIX)
		snprintf(out, ENDPOINT_TEXT_BYTES, "unix:%s", address.path.sun_path);
	else if (getnameinfo(&address.any, bytes, host, sizeof host, port, sizeof port,
			     NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		bool v6 = strchr(host, ':') != NULL;
		snprintf(out, ENDPOINT_TEXT_BYTES, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
			 port);
	}
}

bool endpoint_open(struct endpoint *e, const char *spec, const char *setting_name,
		   const char *socket_group, int backlog)
{
	char why[160];

	*e = (struct endpoint){0};
	e->fd = endpoint_listen(spec, socket_group, backlog, why, sizeof why);
	if (e->fd < 0) {
		(void)cli_complain(setting_name, why, spec);
		return false;
	}
	CHECK(fcntl(e->fd, F_SETFL, O_NONBLOCK) == 0);
	if (strncmp(spec, "unix:", 5) == 0)
		e->unix_path = xstrdup(spec + 5);
	endpoint_show(e->fd, spec, e->shown);
	return true;
}

void endpoint_close(struct endpoint *e)
{
	if (e->unix_path != NULL)
		unlink(e->unix_path);
	free(e->unix_path);
	e->unix_path = NULL;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}
