/* fcgi/mux.h - The one link of this process to the broker. Each request has a REQ socket on inproc://, for the
 * gate's lock-step; the server forwards what they send over one DEALER, so that requests of the same moment
 * travel together. It knows at once when the broker is gone, and then answers everybody who waits: an ask
 * always gets a reply, in bounded time.
 *
 * One thread drives it, the server's, by mux_work(); others may use ask_call(). */
#ifndef PIPEGATE_MUX_H
#define PIPEGATE_MUX_H

#include "common/check.h"
#include "common/gatemsg.h"

#include <stddef.h>
#include <stdint.h>

struct mux;

/* The broker need not be there yet. `seats` bounds the asks at one time. `on_reply` comes from mux_work(), for
 * each reply, when it is ready for ask_take(). NULL: `why` says why not. */
struct mux *mux_new(const char *endpoint, size_t seats, void (*on_reply)(void *ctx, uint16_t seat),
		    void *ctx, char *why, size_t why_bytes);
void mux_destroy(struct mux **mp); /* after all its asks */

/* Adds what wakes it to an epoll set, each with `data`. */
void mux_watch(struct mux *m, int epoll_fd, void *data);

/* What can be done now: before each wait, as its descriptors tell of changes only. If it is much, some of it; then
 * mux_timeout_ms() is 0. */
void mux_work(struct mux *m);
int mux_timeout_ms(const struct mux *m); /* until mux_work() is due again; -1: until it is woken */

/* From now on each ask_call() fails at once with FAIL_SHUTTING_DOWN, the running ones too, and the broker is told to
 * give up what it has. Nothing else of it may be called any more but the destroying, which waits half a second at
 * most for the broker to take that. */
void mux_stop(struct mux *m);

/* A REQ socket: used by one thread at a time. */
struct ask;

/* `seat`: 0 to seats - 1, each once at a time. NULL, after a line in the log: no descriptor is left. */
struct ask *ask_new(struct mux *m, uint16_t seat);
void ask_destroy(struct ask **ap);

/* Sends `m`. The server's thread only: the reply comes through on_reply. Fills m->boot and m->process itself. */
void ask_send(struct ask *a, struct gate_msg *m);

/* The reply, which points into memory of `a` until its next message. It is always a GATE_REPLY or GATE_PONG; a
 * broker that is away shows as GATE_FAILED with FAIL_BROKER_UNAVAILABLE. */
void ask_take(struct ask *a, struct gate_msg *reply);

/* Both, waiting in between. Any thread but the server's. */
void ask_call(struct ask *a, struct gate_msg *m, struct gate_msg *reply);

const char *mux_library_version(void);

#endif
