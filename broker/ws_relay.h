/* broker/ws_relay.h - Callers' WebSockets. A handshake that came to the listener becomes an
 * exchange of the hub, with this file as its responder: the same messages (PROTOCOL.md, "Gate"),
 * but without a gate.
 *
 * After the local app's 101 the bytes of both directions pass untouched: frames, fragments,
 * extensions and closes are between the caller and the app (RFC 6455). Only Pings are put in
 * between, where the web server in front would end a connection that is silent for too long. */
#ifndef PIPEGATE_WS_RELAY_H
#define PIPEGATE_WS_RELAY_H

#include "broker/ws_request.h"
#include "broker/core/hub.h"

#include <uv.h>

struct ws_relays;

struct ws_relays *ws_relays_new(uv_loop_t *loop, const struct config *config, struct hub *hub);

/* Takes over the descriptor and the caller, and `bytes` that came after the head. */
void ws_relay_begin(struct ws_relays *u, int fd, struct ws_request *caller, const void *data,
		    size_t bytes);

/* Writes what came, and asks for more: after each hub_settle(). True: the hub has work again. */
bool ws_relays_settle(struct ws_relays *u);
bool ws_relays_unsettled(const struct ws_relays *u);

/* Callers' WebSockets whose sockets are open, and handshakes in progress. */
size_t ws_relays_count(const struct ws_relays *u);

/* Pings callers and closes sockets whose time is over: behind the loop's poll, so that what has
 * arrived is read first. Works once a second, however often it is called. */
void ws_relays_tick(struct ws_relays *u);

/* Closes the sockets; the exchanges are abandoned. Then a turn of the loop, then
 * ws_relays_destroy(). */
void ws_relays_stop(struct ws_relays *u);
void ws_relays_destroy(struct ws_relays **up);

#endif
