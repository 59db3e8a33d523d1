/* common/http.h - The few rules of HTTP that both ends of a tunnel need (RFC 9110). */
#ifndef PIPEGATE_HTTP_H
#define PIPEGATE_HTTP_H

#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

bool http_token_valid(const char *text, size_t bytes); /* RFC 9110 5.6.2: methods, names */
bool http_value_valid(const char *text, size_t bytes); /* no control characters but tab */

/* Hop-by-hop by itself: RFC 9110 7.6.1, and Proxy-Connection, Keep-Alive, TE, Trailer, Upgrade,
 * Transfer-Encoding, Proxy-Authenticate, Proxy-Authorization. */
bool http_hop_by_hop(const struct head_field *f);

/* One that the public host makes itself, or that means nothing beyond it: a caller's own never passes. */
bool http_is_forwarding(const struct head_field *f);

/* Takes the first element off the comma-separated value of `list`: a name without a value, perhaps an empty one. False:
 * nothing was left. */
bool http_list_next(struct head_field *list, struct head_field *element);

/* Is `f` one of the comma-separated names in the value of `list`? */
bool http_list_names(const struct head_field *list, const struct head_field *f);

/* The Connection values of a head. Borrows it. More than is usual is not looked at: each other field is compared with
 * all of it. */
struct http_connection {
	struct head_field lists[8];
	size_t count, bytes; /* `bytes` of the values, 1 KiB at most */
};

void http_connection_read(struct http_connection *c, const void *head, size_t head_bytes);

/* Is `f` named there? Never what means the same on every connection, such as Host. */
bool http_connection_names(const struct http_connection *c, const struct head_field *f);

const char *http_reason(int status); /* the registered phrase, or "Status" */

/* True: no segment of the raw path is ".." once percent-decoded, segments being split at '/', '\\',
 * %2F, %5C and %00, and no control character is in it but percent-encoded (contract section 3). */
bool http_path_is_plain(const char *path, size_t bytes);

/* "123" -> 123. False: not all digits, empty, or over INT64_MAX. */
bool http_length_parse(const char *text, size_t bytes, long long *out);

/* Apache joins two Cookie lines with ", ", which makes one broken line of them; only where a new pair
 * begins does the comma stand for "; " (RFC 6265 5.4). */
char *http_cookie_repaired(const char *value); /* malloc(3)ed */

#endif
