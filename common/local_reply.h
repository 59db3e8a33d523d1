/* common/local_reply.h - The responses that PipeGate itself makes (contract section 5). Pure. */
#ifndef PIPEGATE_LOCAL_REPLY_H
#define PIPEGATE_LOCAL_REPLY_H

#include "common/buf.h"
#include "common/fail.h"

#include <stdbool.h>

/* The request to which it responds. Borrowed. */
struct local_reply_to {
	const char *status_line; /* "Status:" for CGI, "HTTP/1.1" for HTTP */
	const char *corr_hex;
	const char *accept; /* the caller's Accept, or "" */
	bool is_head;	    /* HEAD: the response has no body */
};

/* Each function appends a whole response, head and body, to `out`. */
void local_reply_fail(struct buf *out, const struct local_reply_to *to, enum fail f, bool accepted,
		      bool maybe_delivered);
/* bad-request with a more specific status than 400; `headers` are further lines, each with CRLF. */
void local_reply_bad_request(struct buf *out, const struct local_reply_to *to, int status,
			     const char *headers);
/* bad-request with a specific status and detail: one line of text for people, without '"', '<' or
 * '&'. */
void local_reply_refuse(struct buf *out, const struct local_reply_to *to, int status,
			const char *detail);
void local_reply_redirect(struct buf *out, const struct local_reply_to *to, const char *location);
void local_reply_health(struct buf *out, const struct local_reply_to *to, bool ok);

/* Returns whether an Accept value prefers text/html to application/json (RFC 9110 12.5.1). */
bool local_reply_prefers_html(const char *accept);

#endif
