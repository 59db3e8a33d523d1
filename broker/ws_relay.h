/* broker/ws_relay.h - Relays callers' WebSockets.
 *
 * Each handshake that the listener received becomes an exchange of the hub. Its requester is this
 * file: it uses the messages of the gate (PROTOCOL.md, "Gate"), but no gate.
 *
 * After the app's 101, the bytes of both directions pass unchanged: frames, fragments, extensions
 * and closes are between the caller and the app (RFC 6455). The only bytes that the relay inserts
 * are Pings to the caller, so that the web server does not time out an idle connection. */
#ifndef PIPEGATE_WS_RELAY_H
#define PIPEGATE_WS_RELAY_H

#include "broker/ws_request.h"
#include "broker/core/hub.h"

#include <uv.h>

struct ws_relays;

struct ws_relays *ws_relays_new(uv_loop_t *loop, const struct config *config, struct hub *hub);

/* Takes ownership of `fd` and `request`. Copies `data`: the bytes that arrived after the head. */
void ws_relay_begin(struct ws_relays *u, int fd, struct ws_request *request, const void *data,
		    size_t bytes);

/* Writes what has arrived and requests more. Call it after each hub_settle(). True: it sent
 * messages to the hub, which needs another hub_settle(). */
bool ws_relays_settle(struct ws_relays *u);

/* True: ws_relays_settle() has work. */
bool ws_relays_unsettled(const struct ws_relays *u);

/* The number of relays: open WebSockets, and handshakes in progress. */
size_t ws_relays_count(const struct ws_relays *u);

/* Pings idle callers, and closes sockets that have passed their deadline. Call it after the loop's
 * poll, so that everything that has arrived was read before. Works at most once a second. */
void ws_relays_tick(struct ws_relays *u);

/* Closes the sockets and abandons their exchanges. Must be followed by one turn of the loop, then
 * ws_relays_destroy(). */
void ws_relays_stop(struct ws_relays *u);
void ws_relays_destroy(struct ws_relays **up);

#endif
