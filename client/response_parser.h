/* client/response_parser.h - Parses the local app's response: HTTP/1.x bytes in; a head for the
 * responder and pieces of the body out. Pure: no sockets.
 *
 * Informational responses and trailers are dropped. A response is COMPLETE only if its framing says
 * so (RFC 9112 6.3). Framing that two readers could understand differently is BAD. */
#ifndef PIPEGATE_RESPONSE_PARSER_H
#define PIPEGATE_RESPONSE_PARSER_H

#include "client/host_hint.h"
#include "client/settings.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

struct response_parser;

/* Called from within response_parser_feed(). They must not call the parser. */
struct response_events {
	/* The head, ":status" and ":origin" first (PROTOCOL.md, "Heads"). Called once. Borrowed. */
	void (*head)(void *ctx, const struct head *h);
	/* A piece of the body, borrowed. Return false to pause after it. */
	bool (*data)(void *ctx, const void *data, size_t bytes);
};

enum response_state {
	RESPONSE_GOING,
	RESPONSE_STALLED,  /* the owner accepts no more at present */
	RESPONSE_COMPLETE, /* the rest of the input does not belong to it */
	RESPONSE_SWITCHED, /* 101: the rest of the input is the other protocol */
	RESPONSE_CUT,	   /* the connection ended before the response did */
	RESPONSE_BAD,
};

/* What the response is for. A 101 is valid only for a handshake, and only if it is for a
 * WebSocket. */
enum response_to { RESPONSE_TO_REQUEST, RESPONSE_TO_HEAD, RESPONSE_TO_HANDSHAKE };

/* `target` and `hint` NULL: the response does not come from an app. Both are borrowed. */
struct response_parser *response_parser_new(const struct target *target, struct host_hint *hint);
void response_parser_destroy(struct response_parser **rp);

void response_parser_begin(struct response_parser *r, enum response_to to,
			   const struct response_events *events, void *ctx);

/* Consumes `*used` bytes. After RESPONSE_STALLED, pass the rest again to continue. */
enum response_state response_parser_feed(struct response_parser *r, const void *data, size_t bytes,
					 size_t *used);
enum response_state response_parser_end(struct response_parser *r); /* the connection has ended */

/* BAD: what was received instead of a valid response, a literal such as "a head larger than 64
 * KiB". */
const char *response_parser_fault(const struct response_parser *r);

int response_parser_status(const struct response_parser *r);	 /* of the head; 0: none yet */
bool response_parser_continues(const struct response_parser *r); /* 100 was received */

/* COMPLETE: returns true if the connection may carry another request. False also for responses
 * after which some apps send too much (HEAD, 204, 304), for HTTP/1.0, and where a login belongs to
 * the connection (NTLM, Negotiate). */
bool response_parser_keeps_open(const struct response_parser *r);

#endif
