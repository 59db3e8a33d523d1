/* fcgi/ask.h - One REQ socket, used for one request in lock-step: a message is sent, one reply is
 * received.
 *
 * The contract demands a REQ socket per request. It connects to mux.h over inproc://, within the
 * process, so that the messages of many requests share one link to the broker. Only one thread at a
 * time may use an ask. */
#ifndef PIPEGATE_ASK_H
#define PIPEGATE_ASK_H

#include "common/gate_msg.h"
#include "fcgi/mux.h"

struct ask;

/* Returns an ask for `seat`, 0 to the mux's seats - 1; two asks must not share a seat. NULL, after
 * an error in the log: no descriptor is left. */
struct ask *ask_new(struct mux *m, uint16_t seat);
void ask_destroy(struct ask **ap);

/* Sends `m` and fills m->boot, m->process and m->seat. Only the server's thread may call it: mux.h
 * reports the reply through on_reply(). */
void ask_send(struct ask *a, struct gate_msg *m);

/* Returns the reply, which points into memory of `a` until the next message. It is always
 * GATE_REPLY or GATE_PONG; an unreachable broker shows as GATE_FAILED with
 * FAIL_BROKER_UNAVAILABLE. */
void ask_receive(struct ask *a, struct gate_msg *reply);

/* Sends `m` and blocks until the reply. Any thread but the server's may call it. */
void ask_call(struct ask *a, struct gate_msg *m, struct gate_msg *reply);

#endif
