/* fcgi/mux.h - Carries the messages of all requests over one link to the broker.
 *
 *   ask --REQ, inproc--> ROUTER [mux, server's thread] --> gate_link --DEALER, ipc or tcp-->
 *   ROUTER of the broker
 *
 * Each request has a seat: it waits for one reply at a time (ask.h). The mux forwards what the asks
 * send, so that messages of the same moment travel together, and replies itself where the broker
 * cannot: an ask always gets a reply, in bounded time.
 *
 * One thread drives it by mux_work(): the server's. The asks may be in others. */
#ifndef PIPEGATE_MUX_H
#define PIPEGATE_MUX_H

#include "common/check.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

struct mux;

/* The broker need not be there yet. `seats` bounds the asks. `on_reply` comes from mux_work()
 * for each reply, when it is ready for ask_receive(). NULL: `why` says why not. */
struct mux *mux_new(const char *endpoint, size_t seats, void (*on_reply)(void *ctx, uint16_t seat),
		    void *ctx, char *why, size_t why_bytes);
void mux_destroy(struct mux **mp); /* after all its asks */

/* Adds what wakes it to an epoll set, each with `data`. */
void mux_watch(struct mux *m, int epoll_fd, void *data);

/* Does what can be done now. Call it before each wait, as its descriptors tell of changes only.
 * If there is much to do it does a part of it; then mux_timeout_ms() is 0. */
void mux_work(struct mux *m);
int mux_timeout_ms(const struct mux *m); /* until mux_work() is due again; -1: until it is woken */

/* From now on each ask_call() fails at once with FAIL_SHUTTING_DOWN, the running ones too, and
 * the broker is told to give up what it has. After this, only the destroying functions may be
 * called; they wait half a second at most for the broker to receive that. */
void mux_stop(struct mux *m);

/* For ask.c. */
#define MUX_ENDPOINT "inproc://asks"
void *mux_zmq_context(struct mux *m);
uint64_t mux_process(const struct mux *m); /* this process's random id */

#endif
