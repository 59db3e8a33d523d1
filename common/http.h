/* common/http.h - The rules of HTTP that both ends of a tunnel need (RFC 9110). */
#ifndef PIPEGATE_HTTP_H
#define PIPEGATE_HTTP_H

#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

bool http_token_valid(const char *text, size_t bytes); /* RFC 9110 5.6.2: methods, names */
bool http_value_valid(const char *text, size_t bytes); /* no control characters but tab */

/* "host" or "host:port" (RFC 3986 3.2.2, 3.2.3): the form of Host's value (RFC 9110 7.2). */
bool http_host_valid(const char *text, size_t bytes);

/* Returns whether a field's name is `name`, or begins with `prefix`. Case is ignored, and '_'
 * equals '-', because CGI and WSGI apps cannot distinguish them. */
bool http_name_is(const struct head_field *f, const char *name);
bool http_name_begins(const struct head_field *f, const char *prefix);

/* Returns whether a field is always hop-by-hop, even if Connection does not name it (RFC 9110
 * 7.6.1): Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade,
 * Proxy-Authenticate, Proxy-Authorization, Proxy-Authentication-Info. */
bool http_hop_by_hop(const struct head_field *f);

/* Returns whether a field is a forwarding field: one by which a proxy tells an app the address,
 * scheme, host or path of the original request, in any product's spelling; x-pipegate-*; or a field
 * that is meant for the web server only. We write our own; the caller's are dropped. */
bool http_is_forwarding(const struct head_field *f);

/* Removes the first element from the comma-separated value of `list` and stores it as the name of
 * `element`, which may be empty. False: the list was empty. */
bool http_list_next(struct head_field *list, struct head_field *element);

enum { HTTP_CONNECTION_NAMES_MAX = 64 };

/* The names in the Connection fields of one head, sorted, so that a long list from a peer does not
 * make each look-up expensive. Zero-initialise. Borrows the values. */
struct http_connection {
	struct head_field names[HTTP_CONNECTION_NAMES_MAX]; /* without values or duplicates */
	size_t count;
};

/* Adds the names in the value of one Connection field. False: there are more than
 * HTTP_CONNECTION_NAMES_MAX; refuse the message. */
bool http_connection_add(struct http_connection *c, const char *value, size_t bytes) MUST_CHECK;

/* Adds the names in all Connection fields of a head. False: as above. */
bool http_connection_read(struct http_connection *c, const void *head,
			  size_t head_bytes) MUST_CHECK;

/* Returns whether Connection names `f`. Always false for fields that define the message, such as
 * Host: Connection must not remove them. */
bool http_connection_names(const struct http_connection *c, const struct head_field *f);

/* Returns whether a raw path is safe to compare (contract section 3): split at '/', '\\', %2F, %5C
 * and %00, it has no segment that is ".." after percent-decoding, and it has no control character
 * that is not percent-encoded. */
bool http_path_is_plain(const char *path, size_t bytes);

/* "123" -> 123. False: not all digits, empty, or over INT64_MAX. */
bool http_length_parse(const char *text, size_t bytes, long long *out);

/* Parses the value of Content-Length: a number, or a list that repeats one number (RFC 9110
 * 8.6). */
bool http_content_length(const char *text, size_t bytes, long long *out);

/* Returns whether protocol v1 has this method: GET POST PUT DELETE PATCH OPTIONS HEAD. */
bool http_method_of_v1(const char *method, size_t bytes);

/* Returns whether the value of Transfer-Encoding is only "chunked". We decode no other coding. */
bool http_is_chunked(const char *text, size_t bytes);

/* Repairs two Cookie lines that Apache has joined with ", ". Cookies are joined with "; " (RFC 6265
 * 5.4), so a ", " before "name=" is replaced by it. The caller frees the result. */
char *http_cookie_repaired(const char *value);

#endif
