/* client/conn.h - The client's connections on the libuv loop, to the local app and to the server: TCP, a
 * Unix socket, or TLS. dialer.h makes them.
 *
 * A connection watches its descriptor for as long as it lives. Reads and writes never block. */
#ifndef PIPEGATE_CONN_H
#define PIPEGATE_CONN_H

#include "client/dialer.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct conn;

/* From the loop, never from within a call to a connection. */
struct conn_events {
	void (*connected)(void *ctx);
	void (*failed)(void *ctx); /* no connection could be made; conn_why() says why */
	/* A read or write that had to wait may go on, or meets an error. */
	void (*ready)(void *ctx);
};

enum { CONN_WAIT = 0, CONN_END = -1, CONN_BROKEN = -2 };

struct conn *conn_open(struct dialer *dialer, const struct conn_events *events, void *ctx);
void conn_hand_over(struct conn *w, const struct conn_events *events, void *ctx);
ssize_t conn_read(struct conn *w, void *out, size_t bytes); /* until CONN_WAIT: TLS buffers */

/* After CONN_WAIT the same bytes have to come again first. After CONN_BROKEN there may be something to read. */
ssize_t conn_write(struct conn *w, const void *data, size_t bytes);
void conn_watch(struct conn *w, bool read, bool write); /* costs nothing if it is so already */
bool conn_end_writing(struct conn *w);			/* false: only conn_close() can say it */
/* Open, and nothing has come: fit for another request. False: only good for conn_close(). */
bool conn_is_quiet(struct conn *w);
void conn_close(struct conn **wp); /* any time, events included */

/* Why a connection could not be made, or broke, in words fit to be logged in quotes. "": it did not. */
const char *conn_why(const struct conn *w);
/* "ADDRESS:PORT" of the other end; "-": not connected */
const char *conn_address(const struct conn *w);
bool conn_is_proxied(const struct conn *w); /* an HTTP proxy made the connection */

#endif
