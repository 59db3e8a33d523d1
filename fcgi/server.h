/* fcgi/server.h - The responder's loop, in one thread: takes connections from the web server, waits
 * until a request is there as a whole, asks the broker, gives the answer back, and keeps the
 * connection if the web server does.
 *
 * A connection and what is asked for it:
 *
 *   IDLE --bytes--> READING --whole--> SERVED --answer out--> IDLE, LINGERING or closed
 *                       `--no slot free--> QUEUED --^
 *
 * While a request waits for the broker, or its caller for the answer, it holds a slot and no
 * thread. Only one whose body comes piece by piece has a thread, until that is through, as
 * libfcgi blocks there. */
#ifndef PIPEGATE_SERVER_H
#define PIPEGATE_SERVER_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server;

struct server_settings {
	const char *gate;
	size_t slots; /* requests at one time */
	/* Limit on open connections. Those beyond `slots` are idle, or wait for a slot. */
	size_t connections;
	int64_t max_body_bytes;
	int signal_fd; /* signalfd(2): SIGUSR1 dumps the requests, any other one stops; -1: none */
};

/* NULL: `why` says why not. */
struct server *server_new(const struct server_settings *s, char *why, size_t why_bytes);
/* After server_drain() was true, or server_serve_plain(). */
void server_destroy(struct server **fp);

/* Serves the listening socket, which it borrows and makes non-blocking, until a signal stops it. */
void server_run(struct server *f, int listen_fd);

/* After server_run(), if nobody else will serve that socket: takes the connections that wait
 * there. */
void server_take_rest(struct server *f);

/* Takes no more connections and lets the running requests finish for `most_ms`; then they are
 * ended as "shutting-down", which takes a second at most. Connections that the web server keeps
 * are closed right behind an answer, or once they have been idle for a while, so that none is
 * closed under a request. False: some thread hangs still; the process has to end without
 * server_destroy(). */
bool server_drain(struct server *f, int64_t most_ms) MUST_CHECK;

/* Plain CGI: the one request of this process. */
void server_serve_plain(struct server *f);

#endif
