/* client/wire.h - The client's connections on the libuv loop, to the local app and to the server: TCP, a Unix socket, or
 * TLS. The only file of the client that includes curl.h, which resolves names beside the loop, tries all addresses with
 * both families at once (RFC 8305), speaks to proxies, and speaks TLS.
 *
 * A wire watches its descriptor for as long as it lives. Reads and writes never block. */
#ifndef PIPEGATE_WIRE_H
#define PIPEGATE_WIRE_H

#include "client/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct wires; /* what all of them share */
struct wire;

/* From the loop, never from within a call to a wire. */
struct wire_events {
	void (*connected)(void *ctx);
	void (*failed)(void *ctx); /* no connection could be made; wire_why() says why */
	void (*ready)(
		void *ctx); /* a read or write that had to wait may go on, or meets an error */
};

enum { WIRE_WAIT = 0, WIRE_END = -1, WIRE_BROKEN = -2 };

struct wires *wires_new(uv_loop_t *loop, const struct settings *settings); /* to the local app */

/* To the server: through the proxy that the environment names, if it names one for it. */
struct wires *wires_new_to_server(uv_loop_t *loop, const struct settings *settings);
void wires_destroy(struct wires **wp); /* after the last wire; then the loop has to run once more */

struct wire *wire_open(struct wires *all, const struct wire_events *events, void *ctx);
void wire_hand_over(struct wire *w, const struct wire_events *events, void *ctx);
ssize_t wire_read(struct wire *w, void *out, size_t bytes); /* until WIRE_WAIT: TLS buffers */

/* After WIRE_WAIT the same bytes have to come again first. After WIRE_BROKEN there may be something to read. */
ssize_t wire_write(struct wire *w, const void *data, size_t bytes);
void wire_watch(struct wire *w, bool read, bool write); /* costs nothing if it is so already */
bool wire_end_writing(struct wire *w);			/* false: only wire_close() can say it */
/* Open, and nothing has come: fit for another request. False: only good for wire_close(). */
bool wire_is_quiet(struct wire *w);
void wire_close(struct wire **wp); /* any time, events included */

/* Why a connection could not be made, or broke, in words fit to be logged in quotes. "": it did not. */
const char *wire_why(struct wire *w);
const char *
wire_address(const struct wire *w); /* "ADDRESS:PORT" of the other end; "-": not connected */
bool wire_is_proxied(const struct wire *w); /* an HTTP proxy made the connection */

const char *wire_library_version(void);

#endif
