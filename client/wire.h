/* client/wire.h - Connections to the local app on the libuv loop: TCP, a Unix socket, or TLS. The only file of
 * the client that includes curl.h, which resolves names, connects, and speaks TLS.
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
	void (*failed)(void *ctx); /* no connection could be made */
	void (*ready)(
		void *ctx); /* a read or write that had to wait may go on, or meets an error */
};

enum { WIRE_WAIT = 0, WIRE_END = -1, WIRE_BROKEN = -2 };

struct wires *wires_new(uv_loop_t *loop, const struct settings *settings);
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
void wire_close(struct wire **wp);  /* any time, events included */

const char *wire_library_version(void);

#endif
