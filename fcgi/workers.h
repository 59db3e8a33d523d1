/* fcgi/workers.h - The requests in service. Each holds a slot, which has an ask (ask.h) and drives
 * its relay (relay.h) from step to step. A request whose body arrives slowly also has a thread
 * (threads.h) until the body is complete, because libfcgi blocks there; all others are driven by
 * the server's thread.
 *
 * Owns the mux, the quota and the threads. Only the server's thread may call these functions. */
#ifndef PIPEGATE_WORKERS_H
#define PIPEGATE_WORKERS_H

#include "common/check.h"
#include "fcgi/connection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct workers;

struct workers_settings {
	const char *gate;
	size_t slots; /* limit on concurrent requests */
	int64_t max_body_bytes;
	int epoll_fd; /* borrowed */
};

/* Called from within workers_*() functions. */
struct workers_events {
	void *ctx;
	/* The response was sent; `end` says what becomes of the connection. */
	void (*done)(void *ctx, struct connection *c, enum cgi_end end);
	/* The web server accepts no more bytes now: workers_writable() must be called when it
	 * does. */
	void (*blocked)(void *ctx, struct connection *c);
};

/* Returns the workers. NULL: `why` holds the reason. */
struct workers *workers_new(const struct workers_settings *s, const struct workers_events *events,
			    char *why, size_t why_bytes);
void workers_destroy(struct workers **wp); /* after workers_stop() returned true */

/* Reserves a slot for one request; workers_start() must follow. NULL: none is free. */
struct slot *workers_reserve(struct workers *w, int64_t now_ms) MUST_CHECK;

/* Serves the request that has arrived on `c`. `whole`: reading it will not block. May call `done`
 * at once. */
void workers_start(struct workers *w, struct slot *s, struct connection *c, bool whole);
void workers_writable(struct workers *w, struct connection *c);

/* Forwards messages both ways, and retries what failed for lack of a descriptor or thread. Must be
 * called once per turn of the loop, before it waits. */
void workers_work(struct workers *w, int64_t now_ms);
int workers_timeout_ms(const struct workers *w); /* until workers_work() is due; -1: no deadline */
bool workers_lack_descriptors(const struct workers *w); /* true: slots are withheld for now */

/* Writes the requests in service to the log, on SIGUSR1. At most WORKERS_DUMP_MAX of them; a last
 * line says how many were left out. */
enum { WORKERS_DUMP_MAX = 200 };
void workers_dump(const struct workers *w, int64_t now_ms);

/* Switches to plain CGI: one thread serves the request and writes its response. */
void workers_set_plain(struct workers *w);

/* Ends idle threads. Returns false if some are still busy. */
bool workers_stop(struct workers *w) MUST_CHECK;

/* Ends all requests as "shutting-down" after the grace period. Returns false if some thread still
 * hangs; workers_destroy() must not be called then. */
bool workers_end_all(struct workers *w) MUST_CHECK;

#endif
