/* fcgi/gate_link.h - The link of this process to one broker: a DEALER socket, and a monitor that
 * tells at once whether the broker is there (PROTOCOL.md, "Gate"). It knows nothing of requests but
 * the number of the seat that each message travels for; mux.h decides who waits for what.
 *
 * A message that was handed to an open link may have reached the local app; one that was refused
 * cannot have. */
#ifndef PIPEGATE_GATE_LINK_H
#define PIPEGATE_GATE_LINK_H

#include "common/check.h"
#include "common/gate_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

struct gate_link;

/* From gate_link_work(). */
struct gate_link_events {
	void *ctx;
	void (*opened)(void *ctx);
	void (*lost)(void *ctx); /* the broker is gone, or does not answer its heartbeats */
};

/* The broker need not be there yet. `zmq_context` is borrowed. NULL: errno is ZeroMQ's. */
struct gate_link *gate_link_new(void *zmq_context, const char *endpoint,
				const struct gate_link_events *events);
void gate_link_destroy(struct gate_link **lp);

/* Adds what wakes it to an epoll set, each with `data`. */
void gate_link_watch(struct gate_link *l, int epoll_fd, void *data);

/* Reports what the monitor has seen: `opened` and `lost`. */
void gate_link_work(struct gate_link *l);
bool gate_link_is_open(const struct gate_link *l);

/* True: sent, and `payload` is no longer the caller's. False: the link is not open, nothing has
 * happened. */
bool gate_link_send(struct gate_link *l, uint16_t seat, zmq_msg_t *payload) MUST_CHECK;

/* Sends a message that belongs to no request and expects no reply: ALIVE, CANCEL at the end. */
void gate_link_notify(struct gate_link *l, const struct gate_msg *m);

/* 1: *payload and *seat are set. 0: nothing is there. -1: something malformed, which was thrown
 * away. */
int gate_link_receive(struct gate_link *l, uint16_t *seat, zmq_msg_t *payload) MUST_CHECK;

/* How long destroying it may wait for the last messages to leave. 0 unless set. */
void gate_link_linger(struct gate_link *l, int most_ms);

/* For sockets that speak to seats: the envelope [seat][""][payload] on any socket, and a seat's
 * routing id. */
int gate_link_receive_from(void *socket, uint16_t *seat, zmq_msg_t *payload) MUST_CHECK;
uint32_t gate_link_seat_to_wire(uint16_t seat);
void gate_link_watch_socket(void *socket, int epoll_fd, void *data);

const char *gate_link_library_version(void);

#endif
