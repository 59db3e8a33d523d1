/* client/request_sender.h - Sends one request to the app: its head, and the body that its owner
 * supplies, with or without chunks. */
#ifndef PIPEGATE_REQUEST_SENDER_H
#define PIPEGATE_REQUEST_SENDER_H

#include "client/conn.h"
#include "client/fetch.h"
#include "client/request_writer.h"

enum {
	REQUEST_SENDER_CHUNK_LINE_BYTES = 16, /* before a chunk's data */
	REQUEST_SENDER_CHUNK_END_BYTES = 2,   /* after it */
	REQUEST_SENDER_SCRATCH_BYTES = REQUEST_SENDER_CHUNK_LINE_BYTES + FETCH_PIECE_BYTES +
				       REQUEST_SENDER_CHUNK_END_BYTES,
};

/* Zero-initialise; end with request_sender_fini(). Callers may read all but `out`. */
struct request_sender {
	struct written_request request;
	/* HELD: waits for request_sender_release(). SHORT: the owner ended it too early. */
	enum { BODY_HELD, BODY_GOING, BODY_OVER, BODY_SHORT } body;
	bool body_waits; /* the owner has no more data at present */
	bool begun;	 /* a byte of the request was written */
	bool broken;	 /* a write failed */
	/* The head with the start of the body; later the rest of a piece. */
	struct buf out;
	const struct fetch_events *events;
	void *ctx;
};

/* Writes the head to memory. A body that expects 100 Continue is held. `events` supplies it. */
enum fail request_sender_start(struct request_sender *s, const struct request_input *in,
			       const struct fetch_events *events, void *ctx) MUST_CHECK;
void request_sender_fini(struct request_sender *s);

/* Writes as much as possible. `scratch` has REQUEST_SENDER_SCRATCH_BYTES. Call again after each
 * change: the connection became writable, the owner has more, or the body was released. */
void request_sender_send(struct request_sender *s, struct conn *conn, uint8_t *scratch);

void request_sender_release(struct request_sender *s);

/* The same request is sent on another connection. Only before the first byte was written. */
void request_sender_restart(struct request_sender *s);

bool request_sender_is_complete(const struct request_sender *s); /* all was written */
bool request_sender_is_blocked(const struct request_sender *s);	 /* until it is writable */

#endif
