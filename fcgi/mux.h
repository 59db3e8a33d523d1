/* fcgi/mux.h - The one link of this process to the broker. Workers talk to it over REQ sockets on
 * inproc://; its thread forwards them over one DEALER, knows at once when the broker is gone, and then
 * answers everybody who waits. A worker therefore always gets a reply, in bounded time. */
#ifndef PIPEGATE_MUX_H
#define PIPEGATE_MUX_H

#include "common/check.h"
#include "common/gatemsg.h"

#include <stddef.h>
#include <stdint.h>

struct mux;

/* Starts the thread; the broker need not be there yet. `workers_max` bounds the asks at one time. NULL:
 * `why` says why not. */
struct mux *mux_new(const char *endpoint, size_t workers_max, char *why, size_t why_bytes);

/* From now on each ask fails at once with FAIL_SHUTTING_DOWN, the running ones too. Any thread. */
void mux_stop(struct mux *m);
void mux_destroy(struct mux **mp); /* after all its asks */

/* One worker's REQ socket; used by one thread. */
struct ask;

/* `worker`: 0 to workers_max - 1, each once at a time. NULL, after a line in the log: no descriptor is left. */
struct ask *ask_new(struct mux *m, uint16_t worker);
void ask_destroy(struct ask **ap);

/* Sends `m` and waits for its reply, which points into memory of `a` until the next call. It is always
 * a GATE_REPLY or GATE_PONG; a broker that is away shows as GATE_FAILED with
 * FAIL_BROKER_UNAVAILABLE. Fills m->boot and m->process itself. */
void ask_call(struct ask *a, struct gate_msg *m, struct gate_msg *reply);

const char *mux_library_version(void);

#endif
