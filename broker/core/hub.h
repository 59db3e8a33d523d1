/* broker/core/hub.h - The broker's core: exchanges between responders (gate) and tunnels.
 *
 * An exchange is one public request and its response: a request body stream up, a response head
 * and body stream down, one responder on one side, at most one tunnel on the other, and exactly
 * one end.
 *
 * The core does no I/O and reads no clock. The rest of the broker includes this file, tunnel.h,
 * stats.h and deadline.h; all other headers of broker/core/ are private to it. Nothing is freed
 * inside a callback: functions mark exchanges and tunnels as dirty, and hub_settle() does the
 * rest once per turn of the loop, so that all input of one turn leaves in one message. */
#ifndef PIPEGATE_HUB_H
#define PIPEGATE_HUB_H

#include "broker/config.h"
#include "broker/core/requester.h"
#include "broker/core/stats.h"
#include "broker/core/tunnel.h"
#include "common/gate_msg.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;

/* Borrows the configuration. All tunnels must be closed before hub_destroy(). */
struct hub *hub_new(const struct config *config, int64_t now_ms);
void hub_destroy(struct hub **hp);

/* Each turn of the loop: hub_set_now(), then events, then hub_settle(). */
void hub_set_now(struct hub *h, int64_t now_ms);
void hub_on_gate(struct hub *h, const struct reply_to *to, const struct gate_msg *m);
/* Judges deadlines. Call it at least every 250 ms while hub_busy(), else every second, and only
 * after all input that has arrived was read, because it judges peers by what they have sent. */
void hub_tick(struct hub *h);
/* Sends replies, flushes tunnels, frees what has ended. */
void hub_settle(struct hub *h);
/* When hub_settle() has to be called again, even if nothing happens until then; 0: need not be. */
int64_t hub_settle_due_ms(const struct hub *h);

/* Refuses an OPEN without making an exchange. */
void hub_refuse(struct hub *h, const struct reply_to *to, const struct gate_msg *m, enum fail f);

/* The responder of this exchange gives it up: it fails with `f`, and no reply is sent. */
void hub_abandon(struct hub *h, const uint8_t corr[CORR_BYTES], enum fail f);

/* The responder of this exchange holds `bytes` of the response that its caller has not read.
 * They count for the budget of the connection id, and above a limit no more of the response is
 * sent to the responder. */
void hub_note_unsent(struct hub *h, const uint8_t corr[CORR_BYTES], size_t bytes);

/* The socket of a caller's WebSocket is closed: it does not count for the limit of its id any
 * more. It may be open long after the end of its exchange, because a caller need not read. */
void hub_socket_closed(struct hub *h, const uint8_t corr[CORR_BYTES]);

/* Closes each tunnel that `match` picks; `reason` is static text. Returns how many. */
size_t hub_close_tunnels_if(struct hub *h, bool (*match)(void *ctx, const struct tunnel *t),
			    void *ctx, int ws_code, const char *reason);

struct tunnel *hub_open_tunnel(struct hub *h, const struct tunnel_start *start);

/* Told when a connection id gets its first tunnel that accepts requests, and when it loses the last
 * one. Must not call the hub. */
struct presence_observer {
	void (*online)(struct presence_observer *o, const char *id);
	void (*offline)(struct presence_observer *o, const char *id);
};

/* There is one observer at most. It is told of changes only, so set it before the first tunnel. */
void hub_observe_presence(struct hub *h, struct presence_observer *o);

/* True while the broker stops: nothing new is accepted. */
bool hub_is_draining(const struct hub *h);
/* True while there is any exchange. */
bool hub_busy(const struct hub *h);
/* True while there are open tunnels, or sockets that are closing. */
bool hub_has_tunnels(const struct hub *h);

/* SIGTERM: accepts nothing new, fails what waits for a disconnected client, and says goodbye to the
 * clients. */
void hub_drain(struct hub *h);
/* The drain time is over: every exchange fails now. */
void hub_end_all(struct hub *h);
/* With code 1001. */
void hub_close_tunnels(struct hub *h);

/* The loop's timer fired so late. */
void hub_note_lag(struct hub *h, int64_t ms);

/* Counters of the core. Those of its users are zero here: see STATS_TABLE. */
const struct stats *hub_stats(const struct hub *h);

#endif
