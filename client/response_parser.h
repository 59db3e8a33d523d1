/* client/response_parser.h - The local app's response: HTTP/1.x bytes in, a head for the responder and body pieces out. Pure:
 * no sockets.
 *
 * Informational responses are skipped, trailers dropped. A response is COMPLETE only if its framing says so (RFC 9112
 * 6.3), and framing that two readers could understand in two ways is BAD. */
#ifndef PIPEGATE_RESPONSE_PARSER_H
#define PIPEGATE_RESPONSE_PARSER_H

#include "client/host_hint.h"
#include "client/settings.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

struct response_parser;

/* From within response_parser_feed(). They must not call into the answer. */
struct response_events {
	/* The head, ":status" and ":origin" first (PROTOCOL.md, "Heads"). Once. Borrowed. */
	void (*head)(void *ctx, const struct head *h);
	/* A piece of the body, borrowed. False: no more after it now. */
	bool (*data)(void *ctx, const void *data, size_t bytes);
};

enum response_state {
	RESPONSE_GOING,
	RESPONSE_STALLED,  /* the owner takes no more now */
	RESPONSE_COMPLETE, /* what follows in the input is none of it */
	RESPONSE_SWITCHED, /* 101: what follows in the input is the other protocol */
	RESPONSE_CUT,	   /* the connection ended before the answer did */
	RESPONSE_BAD,
};

/* What it answers. Only a handshake may be answered with 101, and it has to be for a WebSocket. */
enum response_to { RESPONSE_TO_REQUEST, RESPONSE_TO_HEAD, RESPONSE_TO_HANDSHAKE };

/* `target` and `hint` NULL: the response is not an app's. Both are borrowed. */
struct response_parser *response_parser_new(const struct target *target, struct host_hint *hint);
void response_parser_destroy(struct response_parser **ap);

void response_parser_begin(struct response_parser *a, enum response_to to,
			   const struct response_events *events, void *ctx);

/* Takes `*used` bytes. Those behind have to come again after RESPONSE_STALLED, which this ends. */
enum response_state response_parser_feed(struct response_parser *a, const void *data, size_t bytes,
					 size_t *used);
enum response_state response_parser_end(struct response_parser *a); /* nothing more comes */

/* BAD: what came instead of a valid response, a literal such as "a head larger than 64 KiB". */
const char *response_parser_fault(const struct response_parser *a);

int response_parser_status(const struct response_parser *a);	 /* of the head; 0: none yet */
bool response_parser_continues(const struct response_parser *a); /* 100 has come */

/* COMPLETE: the connection may carry another request. False too for responses after which an app is known to send
 * more than it should (HEAD, 204, 304), for HTTP/1.0, and where a login belongs to the connection (NTLM, Negotiate). */
bool response_parser_keeps_open(const struct response_parser *a);

#endif
