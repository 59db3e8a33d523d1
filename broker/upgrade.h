/* broker/upgrade.h - Callers' WebSockets. A handshake that came to the listener becomes an exchange of the
 * hub, with this file as its responder: the same messages (PROTOCOL.md, "Gate"), but without a gate.
 *
 * After the local app's 101 the bytes of both directions pass untouched: frames, fragments, extensions and
 * closes are between the caller and the app (RFC 6455). Only Pings are put in between, where the web server
 * in front would end a connection that is silent for too long. */
#ifndef PIPEGATE_UPGRADE_H
#define PIPEGATE_UPGRADE_H

#include "broker/caller.h"
#include "broker/hub.h"

#include <uv.h>

struct upgrades;

struct upgrades *upgrades_new(uv_loop_t *loop, const struct config *config, struct hub *hub);

/* Takes over the descriptor and the caller, and `bytes` that came after the head. */
void upgrade_begin(struct upgrades *u, int fd, struct caller *caller, const void *data,
		   size_t bytes);

/* hub_io.reply for those exchanges. */
bool upgrade_reply(struct upgrades *u, const struct gate_peer *peer, const struct gate_msg *m);
bool upgrade_owns(const struct gate_peer *peer);

/* Writes what came, and asks for more: after each hub_settle(). True: the hub has work again. */
bool upgrades_settle(struct upgrades *u);
bool upgrades_unsettled(const struct upgrades *u);

/* Pings callers and closes sockets whose time is over: behind the loop's poll, so that what has arrived is
 * read first. Works once a second, however often it is called. */
void upgrades_tick(struct upgrades *u);

/* Closes the sockets; the exchanges are abandoned. Then a turn of the loop, then upgrades_destroy(). */
void upgrades_stop(struct upgrades *u);
void upgrades_destroy(struct upgrades **up);

#endif
