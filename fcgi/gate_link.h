/* fcgi/gate_link.h - The link of this process to one broker: a DEALER socket, and a monitor that
 * reports at once whether the broker is connected (PROTOCOL.md, "Gate"). It knows nothing of
 * requests; mux.h decides who waits for what.
 *
 * Each message has one part, in both directions. libzmq drops what is unread when it finds that the
 * broker has disconnected, and aborts where that is the rest of a message ("!_more", fq.cpp): a
 * message of several parts could end the responder.
 *
 * A message passed to an open link may have reached the local app; a refused message cannot
 * have. */
#ifndef PIPEGATE_GATE_LINK_H
#define PIPEGATE_GATE_LINK_H

#include "common/check.h"
#include "common/gate_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

struct gate_link;

/* Called from gate_link_work(). */
struct gate_link_events {
	void *ctx;
	void (*opened)(void *ctx);
	void (*lost)(void *ctx); /* the broker disconnected or misses its heartbeats */
};

/* Connects to `endpoint`; the broker need not run yet. Borrows `zmq_context`. NULL: errno is
 * ZeroMQ's. */
struct gate_link *gate_link_new(void *zmq_context, const char *endpoint,
				const struct gate_link_events *events);
void gate_link_destroy(struct gate_link **lp);

/* Adds the link's descriptors to an epoll set, each with `data`. */
void gate_link_watch(struct gate_link *l, int epoll_fd, void *data);

/* Reports the monitor's events: `opened` and `lost`. */
void gate_link_work(struct gate_link *l);
bool gate_link_is_open(const struct gate_link *l);

/* Sends `payload`. True: sent, and `payload` no longer belongs to the caller. False: the link is
 * not open and nothing has changed. */
bool gate_link_send(struct gate_link *l, zmq_msg_t *payload) MUST_CHECK;

/* Sends a message that belongs to no request and expects no reply: ALIVE, CANCEL at the end. */
void gate_link_notify(struct gate_link *l, const struct gate_msg *m);

/* Receives one message into `payload`, which is initialised. Returns false if there is none. */
bool gate_link_receive(struct gate_link *l, zmq_msg_t *payload) MUST_CHECK;

/* Sets how long gate_link_destroy() may wait for the last messages to leave. 0 unless set. */
void gate_link_linger(struct gate_link *l, int most_ms);

/* Adds any ZeroMQ socket to an epoll set. */
void gate_link_watch_socket(void *socket, int epoll_fd, void *data);

const char *gate_link_library_version(void);

#endif
