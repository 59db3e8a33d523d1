/* common/rewrite.h - Turns the response head of a tunnel client, which is not trusted, into header
 * lines for the web server (contract section 3, "Response"). Pure: no FastCGI, no sockets. */
#ifndef PIPEGATE_REWRITE_H
#define PIPEGATE_REWRITE_H

#include "common/buf.h"
#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The app's public name, and what the rewriting needs to know about the request. Borrowed. */
struct public_name {
	const char *prefix; /* "/mount/id"; "" if nothing is removed from paths */
	const char *origin; /* "https://host" as the caller sees it; "" without a Host */
	const char *corr_hex;
	bool is_head;	 /* the request's method is HEAD */
	bool is_upgrade; /* the request is a WebSocket handshake: 101 is allowed */
};

struct response {
	int status;
	bool has_length;
	int64_t length_bytes; /* as declared by the app; set if has_length */
	/* Response to HEAD, or 101, 204, 205 or 304: it has no body. */
	bool bodiless;
	int64_t passed_bytes; /* of the body; counted by rewrite_pass() */
};

/* Writes "STATUS_LINE 200 OK" and the header lines to `out`, without the empty line that ends a
 * head; `status_line` is "Status:" for CGI (RFC 3875 6.3.3), "HTTP/1.1" for HTTP. False: the
 * response is invalid (fail with bad-response), and the caller must discard `out`. Safe on any
 * bytes. */
bool rewrite_response(struct response *r, const struct public_name *q, const char *status_line,
		      const void *head, size_t head_bytes, struct buf *out) MUST_CHECK;

/* Returns how many of the next `bytes` of the body may pass, and counts them: none if the response
 * has no body, and none beyond the declared length, because the recipient would read them as the
 * start of another response. */
size_t rewrite_pass(struct response *r, size_t bytes);

/* Returns whether the whole body has passed; true if no length was declared. */
bool rewrite_is_whole(const struct response *r);

#endif
