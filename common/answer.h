/* common/answer.h - The answers that PipeGate itself makes (contract section 5). Pure. */
#ifndef PIPEGATE_ANSWER_H
#define PIPEGATE_ANSWER_H

#include "common/buf.h"
#include "common/fail.h"

#include <stdbool.h>

/* Whom it is for. Borrowed. */
struct answer_to {
	const char *status_line; /* "Status:" for CGI, "HTTP/1.1" for HTTP */
	const char *corr_hex;
	const char *accept; /* the caller's Accept, or "" */
	bool is_head;	    /* no body then */
};

/* Each writes a whole response, head and body, to `out`. */
void answer_fail(struct buf *out, const struct answer_to *to, enum fail f, bool accepted,
		 bool maybe_delivered);
/* bad-request, where HTTP has a status of its own for what is bad; `headers` are further lines, each with CRLF. */
void answer_bad_request(struct buf *out, const struct answer_to *to, int status,
			const char *headers);
/* bad-request with a detail of its own: one line of text for people, without '"', '<' or '&'. */
void answer_refuse(struct buf *out, const struct answer_to *to, const char *detail);
void answer_redirect(struct buf *out, const struct answer_to *to, const char *location);
void answer_health(struct buf *out, const struct answer_to *to, bool ok);

/* Does this Accept value prefer text/html to application/json (RFC 9110 12.5.1)? */
bool answer_prefers_html(const char *accept);

#endif
