/* broker/gate.h - The gate: the ZeroMQ ROUTER that responders talk to (PROTOCOL.md, "Gate"). The
 * only file of the broker that includes zmq.h. */
#ifndef PIPEGATE_GATE_H
#define PIPEGATE_GATE_H

#include "broker/core/hub.h"

#include <uv.h>

struct gate;

/* Binds config->gate and watches it on the loop. NULL: one line on stderr has said why. Messages
 * go to hub_on_gate(); `hub` may be set later, before the loop runs. */
struct gate *gate_new(uv_loop_t *loop, const struct config *config, struct hub *hub);
void gate_destroy(struct gate **gp); /* lets what is queued go out, for half a second at most */

/* Takes in what has come, a bounded number of messages. ZeroMQ's descriptor tells of changes
 * only, and sending takes such news in as well as receiving: so before every wait, drain, send,
 * then ask gate_has_input(), and do not wait if there is some. */
void gate_drain(struct gate *g);
bool gate_has_input(struct gate *g);

const char *gate_library_version(void);

#endif
