/* client/answer.h - The local app's response: HTTP/1.x bytes in, a head for the responder and body pieces out. Pure:
 * no sockets.
 *
 * Informational responses are skipped, trailers dropped. A response is COMPLETE only if its framing says so (RFC 9112
 * 6.3), and framing that two readers could understand in two ways is BAD. */
#ifndef PIPEGATE_CLIENT_ANSWER_H
#define PIPEGATE_CLIENT_ANSWER_H

#include "client/settings.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

struct answer;

/* From within answer_take(). They must not call into the answer. */
struct answer_events {
	/* The head, ":status" and ":origin" first (PROTOCOL.md, "Heads"). Once. Borrowed. */
	void (*head)(void *ctx, const struct head *h);
	/* A piece of the body, borrowed. False: no more after it now. */
	bool (*data)(void *ctx, const void *data, size_t bytes);
};

enum answer_state {
	ANSWER_GOING,
	ANSWER_STALLED,	 /* the owner takes no more now */
	ANSWER_COMPLETE, /* what follows in the input is none of it */
	ANSWER_SWITCHED, /* 101: what follows in the input is the other protocol */
	ANSWER_CUT,	 /* the connection ended before the answer did */
	ANSWER_BAD,
};

/* What it answers. Only a handshake may be answered with 101, and it has to be for a WebSocket. */
enum answer_to { ANSWER_TO_REQUEST, ANSWER_TO_HEAD, ANSWER_TO_HANDSHAKE };

struct answer *answer_new(const struct settings *settings);
void answer_destroy(struct answer **ap);

void answer_begin(struct answer *a, enum answer_to to, const struct answer_events *events,
		  void *ctx);

/* Takes `*used` bytes. Those behind have to come again after ANSWER_STALLED, which this ends. */
enum answer_state answer_take(struct answer *a, const void *data, size_t bytes, size_t *used);
enum answer_state answer_end(struct answer *a); /* nothing more comes */

int answer_status(const struct answer *a);     /* of the head; 0: none yet */
bool answer_continues(const struct answer *a); /* 100 has come */

/* COMPLETE: the connection may carry another request. False too for responses after which an app is known to send
 * more than it should (HEAD, 204, 304), for HTTP/1.0, and where a login belongs to the connection (NTLM, Negotiate). */
bool answer_keeps_open(const struct answer *a);

/* Does this value of WWW-Authenticate or Authorization name a scheme that logs in the connection, not the request? */
bool answer_binds_connection(const struct head_field *f);

#endif
