/* client/fetch.h - Requests to the local app: HTTP/1.1 over connections that are kept for a short while.
 *
 * A fetch is one request and its response. It is sent once: if a kept connection breaks under it, it fails. Its
 * owner feeds the request body and takes the response through fetch_events, which must not call fetch_cancel(),
 * fetch_resume() or fetch_start(). They come from the loop and from fetch_resume(). Back-pressure is a pause: an
 * event that cannot take or give more now says so, and fetch_resume() ends that. */
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
	/* There is a connection to the app, a new or a kept one. Perhaps again, if that one was closed. */
	void (*connected)(void *ctx);
	/* The response head, ":status" and ":origin" first (PROTOCOL.md, "Heads"). Once. Borrowed. */
	void (*head)(void *ctx, const struct head *h);
	/* A piece of the response body, at most FETCH_PIECE_BYTES. False: no more after it now. */
	bool (*data)(void *ctx, const void *data, size_t bytes);
	/* Up to `bytes` of the request body to `out`. FETCH_WAIT: none yet. FETCH_END: that was all. */
	ssize_t (*body)(void *ctx, void *out, size_t bytes);
	/* The one end. FAIL_NONE: complete. `maybe_delivered`: the app may have seen the request. The
	 * fetch is freed right after. */
	void (*end)(void *ctx, enum fail f, bool maybe_delivered);
};

struct fetch_engine *fetch_engine_new(uv_loop_t *loop, const struct target *target);
/* After the last fetch; then the loop has to run once more. */
void fetch_engine_destroy(struct fetch_engine **op);

const struct target *fetch_engine_target(const struct fetch_engine *e);
struct host_hint *fetch_engine_host_hint(struct fetch_engine *e);
struct dialer *fetch_engine_dialer(struct fetch_engine *e);
struct connect_queue *fetch_engine_queue(struct fetch_engine *e);

enum fetch_body { FETCH_NO_BODY, FETCH_BODY };

/* Starts the request that this head describes. FETCH_NO_BODY: there is none, whatever ":length" says.
 * NULL: a head that must not be sent; *why: FAIL_BAD_PATH or FAIL_BAD_REQUEST. */
struct fetch *fetch_start(struct fetch_engine *e, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events, void *ctx,
			  enum fail *why) MUST_CHECK;
/* There is more of the body, or more data is taken, or both. May call events. */
void fetch_resume(struct fetch *f, bool body, bool data);
void fetch_cancel(struct fetch **fp); /* closes its connection; no event comes any more */

#endif
