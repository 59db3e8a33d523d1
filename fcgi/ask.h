/* fcgi/ask.h - One REQ socket: the gate's lock-step for one request. A message goes out, one reply
 * comes in.
 *
 * The contract asks for a REQ socket per request. It connects to mux.h by inproc://, in the same
 * process, so that the messages of many requests share one link to the broker. Used by one
 * thread at a time. */
#ifndef PIPEGATE_ASK_H
#define PIPEGATE_ASK_H

#include "common/gate_msg.h"
#include "fcgi/mux.h"

struct ask;

/* `seat`: 0 to the mux's seats - 1, each used by one ask at a time. NULL, after a line in the
 * log: no descriptor is left. */
struct ask *ask_new(struct mux *m, uint16_t seat);
void ask_destroy(struct ask **ap);

/* Sends `m`; fills m->boot and m->process. The server's thread only: mux.h reports the reply by
 * on_reply(). */
void ask_send(struct ask *a, struct gate_msg *m);

/* The reply, which points into memory of `a` until its next message. It is always a GATE_REPLY
 * or GATE_PONG; a broker that is away shows as GATE_FAILED with FAIL_BROKER_UNAVAILABLE. */
void ask_receive(struct ask *a, struct gate_msg *reply);

/* Both, waiting in between. Any thread but the server's. */
void ask_call(struct ask *a, struct gate_msg *m, struct gate_msg *reply);

#endif
