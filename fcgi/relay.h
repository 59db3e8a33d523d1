/* fcgi/relay.h - One public request, from its parameters to the last byte of its answer: the
 * responder's half of an exchange (PROTOCOL.md, "Gate").
 *
 *   relay_start() -> ASK --message to the broker, reply--> relay_take() -> ASK ... -> OVER
 *                        `--> BODY, STUCK --relay_go_on()--^
 *
 * It knows no loop and no threads. Whoever drives it says whether it may block: the server's
 * loop may not, and gives an exchange that waits for its caller's body to a thread that may
 * (server.h). */
#ifndef PIPEGATE_RELAY_H
#define PIPEGATE_RELAY_H

#include "fcgi/cgi.h"
#include "fcgi/quota.h"

#include <stdbool.h>
#include <stdint.h>

struct relay;

enum relay_state {
	RELAY_ASK,  /* relay_message() is to be asked, and the reply to be taken */
	RELAY_BODY, /* it needs more of the request body, and may not block */
	/* The caller accepts no more of the response now, and this must not block. */
	RELAY_STUCK,
	RELAY_OVER, /* at the broker and here: see relay_end() */
};

/* Borrows all. `max_body_bytes` 0: no limit. */
struct relay *relay_new(struct cgi *cgi, struct quota *quota, int64_t max_body_bytes);
void relay_destroy(struct relay **xp);

/* Reads the request. Must be allowed to block unless cgi_look() said CGI_WHOLE. */
enum relay_state relay_start(struct relay *x, bool may_block) MUST_CHECK;
enum relay_state relay_take(struct relay *x, const struct gate_msg *reply,
			    bool may_block) MUST_CHECK;
enum relay_state relay_go_on(struct relay *x, bool may_block) MUST_CHECK;

/* RELAY_ASK: what to ask the broker. Borrowed, until the next call. */
struct gate_msg *relay_message(struct relay *x);

/* What it is about; NULL: it is not read yet. From any thread: once read, it does not change. */
const struct request *relay_request(const struct relay *x);

/* The request body has not all gone to the broker. */
bool relay_is_uploading(const struct relay *x);

/* RELAY_OVER: what became of the connection. */
enum cgi_end relay_end(const struct relay *x);

/* The program has to stop now: what the broker would say is not waited for. */
void relay_end_now(struct relay *x);

#endif
