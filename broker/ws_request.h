/* broker/ws_request.h - Reads a caller's WebSocket handshake: which tunnel it is for, and which
 * head the local app gets (contract sections 3 and 4). Like fcgi/request.h for requests. Pure.
 *
 * The web server in front sets these fields:
 * - X-Forwarded-For: its last element is the caller's address.
 * - X-Forwarded-Proto: the public scheme.
 * - X-Forwarded-Prefix: absent if the public URL is /{id}/...; "/mount" if it is /mount/{id}/...;
 *   "/" if the tunnel has a host name of its own, and so no prefix.
 * - X-Pipegate-Connection: the caller's Connection, if the web server replaced that field.
 * - Forwarded: contains "remote_user=" if the web server has checked the caller's password.
 *
 * A path "*.SUFFIX/..." is not from a caller, because web servers refuse such a path. It means that
 * the connection id is the label before .SUFFIX in Host; only "*.SUFFIX" is removed from the
 * path. */
#ifndef PIPEGATE_WS_REQUEST_H
#define PIPEGATE_WS_REQUEST_H

#include "broker/listener_request.h"
#include "common/local_reply.h"
#include "common/gate_msg.h"
#include "common/head.h"
#include "common/rewrite.h"

struct ws_request {
	enum fail fail; /* FAIL_NONE: `id` and `head` are set */
	char id[CONNECTION_ID_MAX_BYTES + 1];
	uint8_t corr[CORR_BYTES];
	char corr_hex[2 * CORR_BYTES + 1];
	struct head head;
	char *prefix, *origin, *accept; /* owned; `public` and `to` borrow them */
	char *host;			/* owned; "" if there is none */
	bool https;
	struct public_name public;
	struct local_reply_to to;
};

/* Always returns a request, with `fail` set if the handshake is invalid. Free it by
 * ws_request_free(). */
struct ws_request *ws_request_read(const struct listener_request *r);
void ws_request_free(struct ws_request *c);

#endif
