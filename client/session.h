/* client/session.h - One tunnel from its handshake to its close, in one of the two protocols.
 * link.c owns the WebSocket and drives the session; v1.c and v2.c implement it. */
#ifndef PIPEGATE_SESSION_H
#define PIPEGATE_SESSION_H

#include "client/fetch.h"
#include "common/window_budget.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SESSION_PULL_BYTES = 192 * 1024 }; /* room for one pull() */

/* What a session gets from its WebSocket. */
struct session_socket {
	void *ctx;
	void (*close)(void *ctx, int code, const char *reason); /* `reason` is a literal */
	/* 32 hex digits that identify the tunnel, so that the server replaces an earlier connection
	 * of it that died unnoticed. */
	const char *instance;
	const char *connection_id;     /* for the log; NULL: unknown */
	int64_t (*now_ms)(void *ctx);  /* monotonic */
	struct window_budget *windows; /* out of which receive windows grow */
};

struct session_kind {
	const char *name;
	size_t max_message_bytes; /* a larger one closes the tunnel with 1009 */
	bool text;
	void *(*open)(struct fetch_engine *engine, const struct session_socket *socket);
	void (*receive)(void *session, const uint8_t *data, size_t bytes); /* a whole message */
	/* Writes the next piece for the connection, and whether it is the first and the last of its
	 * message. Returns its size; 0: there is none. */
	size_t (*pull)(void *session, uint8_t *out, bool *first, bool *final);
	void (*resume)(void *session); /* once per turn of the loop, before pull() */
	/* pull() has made work for resume(): another turn is needed. */
	bool (*must_resume)(void *session);
	/* the program will stop: asks the server for no further requests */
	void (*drain)(void *session);
	bool (*is_idle)(void *session); /* no request runs and nothing is left to send */
	/* After drain(): the server has not yet confirmed that it sends no further request. */
	bool (*expects_more)(void *session);
	/* SIGUSR1: writes what runs to the log, at most REQUEST_LOG_DUMP_MAX rows. */
	void (*dump)(void *session);
	void (*free)(void *session); /* after the connection was closed: ends all requests */
};

extern const struct session_kind session_v1, session_v2;

#endif
