/* broker/ws.h - WebSockets of tunnel clients: translates between the callbacks of libwebsockets and
 * tunnel_*(). ws.c is the only file of the broker that includes libwebsockets.h.
 *
 * libwebsockets has no listening socket here: the listener reads and checks the handshake, then
 * passes its socket to ws_adopt() together with the result of the token check. */
#ifndef PIPEGATE_WS_H
#define PIPEGATE_WS_H

#include "broker/auth.h"
#include "broker/core/hub.h"
#include "broker/core/tunnel.h"

#include <uv.h>

struct ws;

/* NULL: one line on stderr has the reason. */
struct ws *ws_new(uv_loop_t *loop, struct hub *hub);

/* Closes all sockets. */
void ws_destroy(struct ws **wp);

/* A handshake for a tunnel. */
struct ws_handshake {
	char key[64];			    /* Sec-WebSocket-Key */
	bool v2;			    /* the client offers pipegate.v2 */
	char address[TUNNEL_ADDRESS_BYTES]; /* of the client; "": unknown */
	enum auth_result auth;
	struct auth_grant grant; /* if AUTH_OK */
};

/* Takes ownership of `fd` and `handshake` (on the heap). Completes the handshake. Then opens a
 * tunnel, or closes with 1008 and the reason if the token was refused. */
void ws_adopt(struct ws *w, int fd, struct ws_handshake *handshake);

/* Pings silent peers and cuts those that do not respond. Call it every second. */
void ws_tick(struct ws *w);

/* Resumes reading sockets that were paused because their connection id had used its share of the
 * last turn. Call it once a turn. True: there were such sockets, and the loop must not wait. */
bool ws_resume_reading(struct ws *w);

const char *ws_library_version(void);

#endif
