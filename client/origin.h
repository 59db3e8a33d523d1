/* client/origin.h - Requests to the local app, by libcurl on the libuv loop. The only file of the client
 * that includes curl.h.
 *
 * A fetch is one request and its response. Its owner feeds the request body and takes the response
 * through fetch_events, which come from within libcurl: they must not call fetch_cancel(), fetch_resume()
 * or fetch_start(). Back-pressure is a pause: an event that cannot take or give now says so, and
 * fetch_resume() asks again. */
#ifndef PIPEGATE_ORIGIN_H
#define PIPEGATE_ORIGIN_H

#include "client/settings.h"
#include "common/fail.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct origin;
struct fetch;

enum { FETCH_WAIT = 0, FETCH_END = -1 };

struct fetch_events {
	/* The response head, ":status" and ":origin" first (PROTOCOL.md, "Heads"). Once. Borrowed. */
	void (*head)(void *ctx, const struct head *h);
	/* A piece of the response body. False: not now, and nothing was taken. */
	bool (*data)(void *ctx, const void *data, size_t bytes);
	/* Up to `bytes` of the request body to `out`. FETCH_WAIT: none yet. FETCH_END: that was all. */
	ssize_t (*body)(void *ctx, void *out, size_t bytes);
	/* The one end. FAIL_NONE: complete. `maybe_delivered`: the app may have seen the request. The
	 * fetch is freed right after. */
	void (*end)(void *ctx, enum fail f, bool maybe_delivered);
};

struct origin *origin_new(uv_loop_t *loop, const struct settings *settings);
void origin_destroy(
	struct origin **op); /* after the last fetch; then the loop has to run once more */

const struct settings *origin_settings(const struct origin *o);

enum fetch_body { FETCH_NO_BODY, FETCH_BODY };

/* Starts the request that this head describes. FETCH_NO_BODY: there is none, whatever ":length" says.
 * NULL: a head that cannot be sent (malformed, or control characters in it). */
struct fetch *fetch_start(struct origin *o, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events,
			  void *ctx) MUST_CHECK;
void fetch_resume(struct fetch *f);   /* both directions; may call events */
void fetch_cancel(struct fetch **fp); /* closes its connection; no event comes any more */

/* --- a connection of its own to the local app, for a WebSocket --- */

struct wire;

struct wire_events {
	void (*connected)(void *ctx);
	void (*failed)(void *ctx); /* no connection could be made */
	void (*ready)(void *ctx, bool readable, bool writable);
};

enum { WIRE_WAIT = 0, WIRE_END = -1, WIRE_BROKEN = -2 };

struct wire *wire_open(struct origin *o, const struct wire_events *callbacks, void *ctx);
ssize_t wire_read(struct wire *w, void *out, size_t bytes); /* until WIRE_WAIT: TLS buffers */
ssize_t wire_write(struct wire *w, const void *data, size_t bytes);
void wire_watch(struct wire *w, bool read, bool write);
bool wire_end_writing(struct wire *w); /* false: only wire_close() can say it */
void wire_close(struct wire **wp);     /* any time, events included */

const char *origin_library_version(void);

#endif
