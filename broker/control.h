/* broker/control.h - The socket of pipegate-ctl (PIPEGATE_CONTROL): HTTP and JSON on a unix socket.
 * A process that can open it may do everything here, so its group is not that of the web server.
 *
 *   GET  /v1/tunnels[?id=ID]    {"tunnels": [...]}
 *   GET  /v1/id?id=ID           what one connection id has
 *   GET  /v1/log[?id=ID]        the log's lines, of one id or all, as they are written
 *   POST /v1/kick?id=ID         closes its tunnels; their clients come back
 *   POST /v1/revoke?jti=JTI     a token
 *   POST /v1/revoke?sub=ID[&issued_before=TIME]     the tokens of a sub
 *   POST /v1/revoke?issued_before=TIME              all tokens
 *   POST /v1/reload             reads the keys again
 *   POST /v1/drain              what SIGTERM does
 *
 * TIME is in seconds since 1970. A failure is {"detail": "..."} with a status of 400 or more. */
#ifndef PIPEGATE_CONTROL_H
#define PIPEGATE_CONTROL_H

#include "broker/core/hub.h"
#include "broker/revocations.h"
#include "common/httpd.h"

enum {
	CONTROL_EXCHANGES_MAX = 1000, /* in one response */
	CONTROL_FAULT_BYTES = 600,
};

/* Set the first five members, and the rest to zero; borrows all. */
struct control {
	struct hub *hub;
	struct revocations *revocations;
	bool (*reload)(void *ctx, char *fault, size_t fault_bytes);
	void (*drain)(void *ctx);
	void *ctx;

	struct control_log *logs; /* private */
};

/* The handlers' context is a struct control. */
extern const struct httpd_route control_routes[];

#endif
