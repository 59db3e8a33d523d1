/* fcgi/server.h - The responder's loop, in one thread: accepts connections from the web server,
 * waits until a whole request has arrived, forwards it to the broker, returns the response, and
 * keeps the connection if the web server does.
 *
 * States of a connection:
 *
 *   IDLE --bytes--> READING --whole--> SERVED --response sent--> IDLE, LINGERING or closed
 *                       `--no slot free--> QUEUED --^
 *
 * A request that waits for the broker or for its caller holds a slot and no thread. Only a request
 * whose parameters or body arrive in pieces has a thread, until the body is complete: libfcgi
 * blocks there, and so does the wait for a slow caller.
 *
 * IDLE connections cost a descriptor each. They are closed at the limit of connections, the oldest
 * first; after five minutes; and while draining. A close can cost the web server the request that
 * it is about to send, so none is closed while that is likely. What still arrives of a body whose
 * response was early does not end IDLE: cgi_peek() discards it. */
#ifndef PIPEGATE_SERVER_H
#define PIPEGATE_SERVER_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server;

struct server_settings {
	const char *gate;
	size_t slots; /* limit on concurrent requests */
	/* Limit on open connections. Those beyond `slots` are idle or wait for a slot. */
	size_t connections;
	int64_t max_body_bytes;
	/* signalfd(2): SIGUSR1 dumps the requests, any other signal stops; -1: none */
	int signal_fd;
};

/* Returns a server. NULL: `why` holds the reason. */
struct server *server_new(const struct server_settings *s, char *why, size_t why_bytes);
/* Must follow server_drain() that returned true, or server_serve_plain(). */
void server_destroy(struct server **fp);

/* Serves the listening socket until a signal stops it. Borrows the socket and makes it
 * non-blocking. */
void server_run(struct server *f, int listen_fd);

/* Accepts the connections that wait at the socket. For use after server_run(), if no other process
 * will serve that socket. */
void server_accept_waiting(struct server *f);

/* Accepts no more connections and lets the running requests finish for `max_ms`; then ends them as
 * "shutting-down", which takes at most one second. Connections that the web server keeps are closed
 * right after a response, or once they have been idle for a while, so that none is closed during a
 * request. Returns false if some thread still hangs; the process must then end without
 * server_destroy(). */
bool server_drain(struct server *f, int64_t max_ms) MUST_CHECK;

/* Serves the one request of a plain CGI process. */
void server_serve_plain(struct server *f);

#endif
