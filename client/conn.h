/* client/conn.h - The client's connections on the libuv loop, to the local app and to the server:
 * TCP, a Unix socket, or TLS. dialer.h establishes them.
 *
 * A connection watches its descriptor as long as it exists. Reads and writes never block. */
#ifndef PIPEGATE_CONN_H
#define PIPEGATE_CONN_H

#include "client/dialer.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct conn;

/* Called from the loop, never from within a call to a connection. */
struct conn_events {
	void (*connected)(void *ctx);
	void (*failed)(void *ctx); /* could not connect; conn_why() has the reason */
	/* A read or write that returned CONN_WAIT can be retried, or will report an error. */
	void (*ready)(void *ctx);
};

enum { CONN_WAIT = 0, CONN_END = -1, CONN_BROKEN = -2 };

struct conn *conn_open(struct dialer *dialer, const struct conn_events *events, void *ctx);
void conn_hand_over(struct conn *c, const struct conn_events *events, void *ctx);
/* Call it until it returns CONN_WAIT: TLS holds bytes of its own. */
ssize_t conn_read(struct conn *c, void *out, size_t bytes);

/* After CONN_WAIT, retry with the same bytes. After CONN_BROKEN, there may still be input to
 * read. */
ssize_t conn_write(struct conn *c, const void *data, size_t bytes);
void conn_watch(struct conn *c, bool read, bool write); /* free if nothing changes */
/* Returns false if only conn_close() can end the output. */
bool conn_end_writing(struct conn *c);
/* Returns true if the connection is open and has no input, so that it can carry another request.
 * Otherwise it can only be closed. */
bool conn_is_quiet(struct conn *c);
void conn_close(struct conn **cp); /* at any time, also from an event */

/* Why the connection could not be established, or broke; fit to be logged in quotes. "": it did
 * not. */
const char *conn_why(const struct conn *c);
/* "ADDRESS:PORT" of the peer; "-": not connected */
const char *conn_address(const struct conn *c);
bool conn_is_proxied(const struct conn *c); /* through an HTTP proxy */

#endif
