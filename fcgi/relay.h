/* fcgi/relay.h - One public request, from its parameters to the last byte of its response: the
 * responder's half of an exchange (PROTOCOL.md, "Gate").
 *
 *   relay_start() -> ASK --message to the broker, reply--> relay_take() -> ASK ... -> OVER
 *                        `--> BODY, STUCK --relay_go_on()--^
 *
 * It knows no loop and no threads. Its caller says whether it may block: the server's loop may not,
 * and passes an exchange that waits for its caller's body to a thread that may (server.h). */
#ifndef PIPEGATE_RELAY_H
#define PIPEGATE_RELAY_H

#include "fcgi/cgi.h"
#include "fcgi/quota.h"

#include <stdbool.h>
#include <stdint.h>

struct relay;

enum relay_state {
	RELAY_ASK,  /* send relay_message(), then pass the reply to relay_take() */
	RELAY_BODY, /* it needs more of the request body, and may not block */
	/* The caller accepts no more of the response now, and this call must not block. */
	RELAY_STUCK,
	RELAY_OVER, /* the exchange has ended, here and at the broker: see relay_end() */
};

/* Returns a relay, which borrows its arguments. `max_body_bytes` 0: no limit. `arrived_ms`: when
 * the request began to arrive; 0: now. */
struct relay *relay_new(struct cgi *cgi, struct quota *quota, int64_t max_body_bytes,
			int64_t arrived_ms);
void relay_destroy(struct relay **xp);

/* Reads the request. `may_block` must be true unless cgi_peek() returned CGI_WHOLE. */
enum relay_state relay_start(struct relay *x, bool may_block) MUST_CHECK;
enum relay_state relay_take(struct relay *x, const struct gate_msg *reply,
			    bool may_block) MUST_CHECK;
enum relay_state relay_go_on(struct relay *x, bool may_block) MUST_CHECK;

/* RELAY_ASK: returns the message for the broker. Borrowed until the next call. */
struct gate_msg *relay_message(struct relay *x);

/* Returns the request; NULL: not read yet. Any thread may call it: once read, the request does not
 * change. */
const struct request *relay_request(const struct relay *x);

/* Returns true if part of the request body has not been sent to the broker. */
bool relay_is_uploading(const struct relay *x);

/* RELAY_OVER: returns what becomes of the connection. */
enum cgi_end relay_end(const struct relay *x);

/* Ends the relay because the program stops, without waiting for the broker's reply. */
void relay_end_now(struct relay *x);

#endif
