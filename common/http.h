/* common/http.h - The few rules of HTTP that both ends of a tunnel need (RFC 9110). */
#ifndef PIPEGATE_HTTP_H
#define PIPEGATE_HTTP_H

#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

bool http_token_valid(const char *text, size_t bytes); /* RFC 9110 5.6.2: methods, names */
bool http_value_valid(const char *text, size_t bytes); /* no control characters but tab */

/* "host" or "host:port" (RFC 3986 3.2.2, 3.2.3): what Host may say (RFC 9110 7.2). */
bool http_host_valid(const char *text, size_t bytes);

/* Is a field's name `name`, or does it begin with `prefix`? Case is ignored, and '_' is '-': CGI
 * and WSGI apps cannot tell them apart. */
bool http_name_is(const struct head_field *f, const char *name);
bool http_name_begins(const struct head_field *f, const char *prefix);

/* Hop-by-hop by itself: RFC 9110 7.6.1, and Proxy-Connection, Keep-Alive, TE, Trailer, Upgrade,
 * Transfer-Encoding, Proxy-Authenticate, Proxy-Authorization. */
bool http_hop_by_hop(const struct head_field *f);

/* A field by which a proxy tells an app what the caller asked of it (address, scheme, host,
 * path), in any product's spelling; x-pipegate-*; and what means nothing beyond the web server.
 * We write them ourselves; the caller's are dropped. */
bool http_is_forwarding(const struct head_field *f);

/* Takes the first element off the comma-separated value of `list`: a name without a value,
 * perhaps an empty one. False: nothing was left. */
bool http_list_next(struct head_field *list, struct head_field *element);

enum { HTTP_CONNECTION_NAMES_MAX = 64 };

/* The names in the Connection fields of one head, sorted: a look-up costs the same however a
 * peer sizes the list. Zero-initialise. Borrows the values. */
struct http_connection {
	struct head_field names[HTTP_CONNECTION_NAMES_MAX]; /* without values, none twice */
	size_t count;
};

/* Adds those in the value of one Connection field. False: they are too many, refuse the message. */
bool http_connection_add(struct http_connection *c, const char *value, size_t bytes) MUST_CHECK;

/* Reads all Connection fields of a head. False: likewise. */
bool http_connection_read(struct http_connection *c, const void *head,
			  size_t head_bytes) MUST_CHECK;

/* Is `f` named there? Never what means the same on every connection, such as Host. */
bool http_connection_names(const struct http_connection *c, const struct head_field *f);

const char *http_reason(int status); /* the registered phrase, or "Status" */

/* True: no segment of the raw path is ".." once percent-decoded, segments being split at '/', '\\',
 * %2F, %5C and %00, and no control character is in it but percent-encoded (contract section 3). */
bool http_path_is_plain(const char *path, size_t bytes);

/* "123" -> 123. False: not all digits, empty, or over INT64_MAX. */
bool http_length_parse(const char *text, size_t bytes, long long *out);

/* The value of a Content-Length: a number, or a list of the same one (RFC 9110 8.6). */
bool http_content_length(const char *text, size_t bytes, long long *out);

/* Is the value of Transfer-Encoding "chunked" alone? We undo no other coding. */
bool http_is_chunked(const char *text, size_t bytes);

/* Apache joins two Cookie lines with ", ", which makes one broken line of them; only where a new
 * pair begins does the comma stand for "; " (RFC 6265 5.4). */
char *http_cookie_repaired(const char *value); /* malloc(3)ed */

#endif
