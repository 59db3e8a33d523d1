/* client/fetch.h - Requests to the local app: HTTP/1.1 over connections that are kept for a short
 * time.
 *
 * A fetch is one request and its response. It is sent once: if its kept connection breaks, it
 * fails. The owner supplies the request body and receives the response through fetch_events, which
 * must not call fetch_cancel(), fetch_resume() or fetch_start(). They are called from the loop and
 * from fetch_resume(). An event that cannot accept or supply more says so; the fetch then pauses
 * until fetch_resume(). */
#ifndef PIPEGATE_FETCH_H
#define PIPEGATE_FETCH_H

#include "client/settings.h"
#include "common/fail.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct fetch_engine;
struct fetch;
struct dialer;
struct host_hint;
struct connect_queue;

enum { FETCH_WAIT = 0, FETCH_END = -1, FETCH_PIECE_BYTES = 64 * 1024 };

struct fetch_events {
	/* A connection to the app is available, new or kept. Called again if that one turns out to
	 * be closed. */
	void (*connected)(void *ctx);
	/* The response head, ":status" and ":origin" first (PROTOCOL.md, "Heads"). Called once.
	 * Borrowed. */
	void (*head)(void *ctx, const struct head *h);
	/* A piece of the response body, at most FETCH_PIECE_BYTES. Return false to pause after
	 * it. */
	bool (*data)(void *ctx, const void *data, size_t bytes);
	/* Writes up to `bytes` of the request body to `out`. FETCH_WAIT: none at present.
	 * FETCH_END: the body is complete. */
	ssize_t (*body)(void *ctx, void *out, size_t bytes);
	/* Called once, last. FAIL_NONE: the response is complete. `maybe_delivered`: the app may
	 * have seen the request. The fetch is freed afterwards. */
	void (*end)(void *ctx, enum fail f, bool maybe_delivered);
};

struct fetch_engine *fetch_engine_new(uv_loop_t *loop, const struct target *target);
/* Call after the last fetch has ended. Run the loop once more after it. */
void fetch_engine_destroy(struct fetch_engine **ep);

const struct target *fetch_engine_target(const struct fetch_engine *e);
struct host_hint *fetch_engine_host_hint(struct fetch_engine *e);
struct dialer *fetch_engine_dialer(struct fetch_engine *e);
struct connect_queue *fetch_engine_queue(struct fetch_engine *e);

enum fetch_body { FETCH_NO_BODY, FETCH_BODY };

/* Starts the request that `head` describes. FETCH_NO_BODY: it has no body, whatever ":length" says.
 * Returns NULL if the head must not be sent; *why is FAIL_BAD_PATH or FAIL_BAD_REQUEST then. */
struct fetch *fetch_start(struct fetch_engine *e, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events, void *ctx,
			  enum fail *why) MUST_CHECK;
/* Ends a pause: more of the body is available, more data is accepted, or both. May call events. */
void fetch_resume(struct fetch *f, bool body, bool data);
void fetch_cancel(struct fetch **fp); /* closes its connection; calls no event */

#endif
