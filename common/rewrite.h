/* common/rewrite.h - The response head of a tunnel client, which nobody trusts, turned into
 * lines for the web server (contract section 3, "Response"). Pure: no FastCGI, no sockets. */
#ifndef PIPEGATE_REWRITE_H
#define PIPEGATE_REWRITE_H

#include "common/buf.h"
#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the caller knows the app, and the request. Borrowed. */
struct public_name {
	const char *prefix; /* "/mount/id", "" where nothing is stripped */
	const char *origin; /* "https://host" as the caller sees it; "" without a Host */
	const char *corr_hex;
	bool is_head;	 /* the request's method is HEAD */
	bool is_upgrade; /* it is a handshake: 101 is a possible answer */
};

struct response {
	int status;
	bool has_length;
	int64_t length_bytes; /* declared by the app; has_length */
	/* Response to HEAD, or 101, 204, 205 or 304: it has no body. */
	bool bodiless;
	int64_t passed_bytes; /* of the body, by rewrite_pass() */
};

/* Writes "STATUS_LINE 200 OK" and the header lines to `out`, without the empty line that ends a
 * head; `status_line` is "Status:" for CGI (RFC 3875 6.3.3), "HTTP/1.1" for HTTP. False: an
 * impossible response (fail with bad-response); `out` is then to be thrown away. Safe on any
 * bytes. */
bool rewrite_response(struct response *r, const struct public_name *q, const char *status_line,
		      const void *head, size_t head_bytes, struct buf *out) MUST_CHECK;

/* Returns how many of the next `bytes` of the body may pass, and counts them: none of a body
 * that must not be there, none beyond the declared length, which the recipient would take for
 * the start of another response. */
size_t rewrite_pass(struct response *r, size_t bytes);

/* Returns whether what has passed is the whole body, as far as its declared length tells. */
bool rewrite_is_whole(const struct response *r);

#endif
