/* fcgi/mux.h - Carries the messages of all requests over one link to the broker.
 *
 *   ask --REQ, inproc--> ROUTER [mux, server's thread] --> gate_link --DEALER, ipc or tcp-->
 *   ROUTER of the broker
 *
 * Each request has a seat and waits for one reply at a time (ask.h). The mux forwards the asks'
 * messages in batches, and replies itself where the broker cannot: an ask always receives a reply,
 * in bounded time.
 *
 * Only the server's thread calls mux_work(). The asks may be used by other threads. */
#ifndef PIPEGATE_MUX_H
#define PIPEGATE_MUX_H

#include "common/check.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

struct mux;

/* Connects to `endpoint`; the broker need not run yet. `seats` limits the asks. mux_work() calls
 * `on_reply` for each reply that is ready for ask_receive(). NULL: `why` holds the reason. */
struct mux *mux_new(const char *endpoint, size_t seats, void (*on_reply)(void *ctx, uint16_t seat),
		    void *ctx, char *why, size_t why_bytes);
void mux_destroy(struct mux **mp); /* after all its asks */

/* Adds the mux's descriptors to an epoll set, each with `data`. */
void mux_watch(struct mux *m, int epoll_fd, void *data);
void mux_woken(struct mux *m); /* must be called when one of them is readable */

/* Forwards what is ready, a bounded amount per call; if more is left, mux_timeout_ms() is 0. Must
 * be called before each wait. */
void mux_work(struct mux *m);
int mux_timeout_ms(const struct mux *m); /* until mux_work() is due; -1: no deadline */

/* Makes each ask_call() fail at once with FAIL_SHUTTING_DOWN, the running ones too, and tells the
 * broker to cancel its exchanges. After this only the destroying functions may be called; they wait
 * at most half a second for the broker to receive that. */
void mux_stop(struct mux *m);

/* For ask.c. */
#define MUX_ENDPOINT "inproc://asks"
void *mux_zmq_context(struct mux *m);
void mux_asked(struct mux *m); /* the server's thread has sent a message to MUX_ENDPOINT */
uint64_t mux_process(const struct mux *m); /* this process's random id */
uint32_t mux_routing_id(uint16_t seat);	   /* of the ask's socket, as it is on the wire */

#endif
