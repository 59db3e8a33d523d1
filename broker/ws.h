/* broker/ws.h - WebSockets of tunnel clients: libwebsockets' callbacks turned into tunnel_*()
 * calls. The only file of the broker that includes libwebsockets.h.
 *
 * It owns no listener: listener.c has read and judged the request head, and hands over the
 * socket of a handshake for a tunnel together with what the token said. */
#ifndef PIPEGATE_WS_H
#define PIPEGATE_WS_H

#include "broker/auth.h"
#include "broker/core/hub.h"

#include <uv.h>

struct ws;

struct ws *ws_new(uv_loop_t *loop, struct hub *hub); /* NULL: one line on stderr has said why */
void ws_destroy(struct ws **wp); /* all sockets closed or about to be: see ws_close_all() */

struct ws_handshake {
	char key[64]; /* Sec-WebSocket-Key */
	bool v2;      /* pipegate.v2 is among the sub-protocols asked for */
	enum auth_result auth;
	struct auth_grant grant; /* for AUTH_OK */
};

/* Takes the descriptor and the handshake, which is on the heap: completes it, then opens a
 * tunnel, or closes with 1008 and the reason where the token was refused. */
void ws_adopt(struct ws *w, int fd, struct ws_handshake *handshake);

/* Pings the silent, and gives up those that do not answer: each second. */
void ws_tick(struct ws *w);

/* Each turn of the loop, once: reads on where a connection id had spent its share of the last
 * one. True: there were any, and the loop must not wait. */
bool ws_read_on(struct ws *w);

const char *ws_library_version(void);

#endif
