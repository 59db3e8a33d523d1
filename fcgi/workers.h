/* fcgi/workers.h - The requests in service. Each holds a slot, which has an ask (ask.h) and drives
 * its relay (relay.h) from step to step. One whose caller sends the body slowly also has a thread
 * (threads.h) until the body is through, as libfcgi blocks there; all others are driven by the
 * server's thread.
 *
 * It owns the mux, the quota and the threads. Everything here is called by the server's thread. */
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
	size_t slots; /* most requests in service */
	int64_t max_body_bytes;
	int epoll_fd; /* borrowed */
};

/* From within workers_*() functions. */
struct workers_events {
	void *ctx;
	/* The response is out, and `end` says what is to become of the connection. */
	void (*done)(void *ctx, struct connection *c, enum cgi_end end);
	/* The web server accepts no more bytes now: workers_writable() is due when it does. */
	void (*stuck)(void *ctx, struct connection *c);
};

/* NULL: `why` says why not. */
struct workers *workers_new(const struct workers_settings *s, const struct workers_events *events,
			    char *why, size_t why_bytes);
void workers_destroy(struct workers **wp); /* after workers_stop() was true */

/* A slot for one request; workers_start() must follow. NULL: none is free. */
struct slot *workers_reserve(struct workers *w, int64_t now_ms) MUST_CHECK;

/* Serves the request that has arrived on `c`. `whole`: reading it will not block. May report
 * `done` at once. */
void workers_start(struct workers *w, struct slot *s, struct connection *c, bool whole);
void workers_writable(struct workers *w, struct connection *c);

/* Once per turn of the loop, before it waits: forwards messages both ways, and tries again what
 * could not be had. */
void workers_work(struct workers *w, int64_t now_ms);
int workers_timeout_ms(const struct workers *w); /* until it is due again; -1: until an event */
bool workers_lack_descriptors(const struct workers *w); /* so no slot was given for a moment */

/* SIGUSR1: writes the requests in service to the log. At most WORKERS_DUMP_MAX of them; a last
 * line says how many were left out. */
enum { WORKERS_DUMP_MAX = 200 };
void workers_dump(const struct workers *w, int64_t now_ms);

/* Plain CGI: a thread does all of it, writing the response included. */
void workers_set_plain(struct workers *w);

/* Threads that have nothing to do end. False: some are busy still. */
bool workers_stop(struct workers *w) MUST_CHECK;

/* The time is over: ends all requests as "shutting-down". False: some thread hangs still, and
 * workers_destroy() must not be called. */
bool workers_end_all(struct workers *w) MUST_CHECK;

#endif
