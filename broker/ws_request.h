/* broker/ws_request.h - A caller's WebSocket handshake, judged: which tunnel it is for, and the
 * head that the local app shall see (contract sections 3 and 4). What fcgi/request.h is for
 * requests. Pure: no sockets.
 *
 * The listener stands behind the web server, which makes X-Forwarded-For (its last element is the
 * caller), X-Forwarded-Proto and X-Forwarded-Prefix: absent, the public URL is /{id}/...; "/mount",
 * it is /mount/{id}/...; "/", the tunnel has a host name of its own and there is no prefix.
 * X-Pipegate-Connection stands for the caller's Connection where the web server has put its own
 * there. "remote_user=" in Forwarded: the web server has checked the caller's password.
 *
 * A path "*.SUFFIX/..." (no caller's begins so, as web servers refuse it): the tunnel is named
 * by the label before .SUFFIX in Host, and nothing but "*.SUFFIX" is taken off the path. */
#ifndef PIPEGATE_WS_REQUEST_H
#define PIPEGATE_WS_REQUEST_H

#include "broker/listener_request.h"
#include "common/local_reply.h"
#include "common/gate_msg.h"
#include "common/head.h"
#include "common/rewrite.h"

struct ws_request {
	enum fail fail; /* FAIL_NONE: id and head are set */
	char id[CONNECTION_ID_MAX_BYTES + 1];
	uint8_t corr[CORR_BYTES];
	char corr_hex[2 * CORR_BYTES + 1];
	struct head head;
	char *prefix, *origin, *accept; /* owned; what the next two show */
	char *host;			/* owned; "" without */
	bool https;
	struct public_name public;
	struct local_reply_to to;
};

/* Always succeeds: what is wrong with the handshake is in the result. Ends with
 * ws_request_free(). */
struct ws_request *ws_request_read(const struct listener_request *r);
void ws_request_free(struct ws_request *c);

#endif
