/* fcgi/serve.h - One public request, from its parameters to the last byte of its answer: the responder's
 * half of an exchange (PROTOCOL.md, "Gate").
 *
 *   exchange_start() -> ASK --message to the broker, reply--> exchange_take() -> ASK ... -> OVER
 *                        `--> BODY, STUCK --exchange_go_on()--^
 *
 * It knows no loop and no threads. Whoever drives it says whether it may block: the front may not, and gives
 * an exchange that waits for its caller's body to a thread that may (front.h). */
#ifndef PIPEGATE_SERVE_H
#define PIPEGATE_SERVE_H

#include "fcgi/cgi.h"
#include "fcgi/share.h"

#include <stdbool.h>
#include <stdint.h>

struct exchange;

enum exchange_state {
	EXCHANGE_ASK,	/* exchange_message() is to be asked, and the reply to be taken */
	EXCHANGE_BODY,	/* it needs more of the request body, and may not block */
	EXCHANGE_STUCK, /* the caller takes no more of the answer now, and it may not block */
	EXCHANGE_OVER,	/* at the broker and here: see exchange_end() */
};

/* Borrows all. `max_body_bytes` 0: no limit. */
struct exchange *exchange_new(struct cgi *cgi, struct share *share, int64_t max_body_bytes);
void exchange_destroy(struct exchange **xp);

/* Reads the request. Must be allowed to block unless cgi_look() said CGI_WHOLE. */
enum exchange_state exchange_start(struct exchange *x, bool may_block) MUST_CHECK;
enum exchange_state exchange_take(struct exchange *x, const struct gate_msg *reply,
				  bool may_block) MUST_CHECK;
enum exchange_state exchange_go_on(struct exchange *x, bool may_block) MUST_CHECK;

/* EXCHANGE_ASK: what to ask the broker. Borrowed, until the next call. */
struct gate_msg *exchange_message(struct exchange *x);

/* The request body has not all gone to the broker. */
bool exchange_is_uploading(const struct exchange *x);

/* EXCHANGE_OVER: what became of the connection. */
enum cgi_end exchange_end(const struct exchange *x);

/* The program has to stop now: what the broker would say is not waited for. */
void exchange_end_now(struct exchange *x);

#endif
