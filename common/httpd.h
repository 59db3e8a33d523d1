/* common/httpd.h - Small HTTP endpoints for operators: a few fixed paths, served from memory, one
 * request per connection. A request has arguments in its query, and no body. Connections are
 * limited in number, head size and lifetime, so a slow or hostile peer occupies one of
 * HTTPD_CONNECTIONS_MAX connections for at most HTTPD_LIFE_MS. A large response is written as fast
 * as the peer reads it; the loop never blocks. httpd.c is the only file that includes
 * microhttpd.h. */
#ifndef PIPEGATE_HTTPD_H
#define PIPEGATE_HTTPD_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum {
	HTTPD_CONNECTIONS_MAX = 32,
	HTTPD_MEMORY_BYTES = 32 * 1024,	 /* per connection; a larger request head gets 431 */
	HTTPD_SILENCE_S = 10,		 /* idle time after which a connection is closed */
	HTTPD_LIFE_MS = 60000,		 /* from accept() to the last byte of the response */
	HTTPD_STREAM_BYTES = 256 * 1024, /* limit on what a stream holds for a slow reader */
	HTTPD_STREAM_EMPTY_LINE_MS = 5000,
};

struct httpd_request;
struct httpd_stream;

/* Returns the decoded argument of the query; NULL: there is none. Lives as long as the request. */
const char *httpd_argument(const struct httpd_request *r, const char *name);

struct httpd_response {
	int status;
	const char *content_type; /* not copied */
	char *body;		  /* from malloc(); httpd frees it once it is sent */
	size_t body_bytes;
	struct httpd_stream *stream; /* instead of a body; NULL: none */
};

/* Fills `out`. */
typedef void (*httpd_handler)(void *ctx, const struct httpd_request *r, struct httpd_response *out);

/* A route for GET serves HEAD too. Other methods and paths get 404 `not-found`. */
struct httpd_route {
	const char *method;
	const char *path;
	httpd_handler handler;
};

struct httpd;

/* Listens at `spec`, ADDR:PORT or unix:PATH (common/endpoint.h). `name` is the variable to name in
 * error messages; `socket_group` is the group of a unix socket, or NULL. `routes` ends with a NULL
 * method and is not copied. NULL: the reason was written to stderr. */
struct httpd *httpd_new(uv_loop_t *loop, const char *spec, const char *name,
			const char *socket_group, const struct httpd_route *routes, void *ctx);
const char *httpd_address(const struct httpd *h); /* with the port that was chosen */
void httpd_stop(struct httpd *h);		  /* closes all its connections; NULL is allowed */
void httpd_destroy(struct httpd **hp);		  /* after httpd_stop() and a turn of the loop */

/* A response of lines that has no end of its own: it ends when its reader leaves, or with the
 * server. Put it into httpd_response.stream. `closed` is called when it ends, and frees nothing of
 * it. While there is nothing to send, an empty line every HTTPD_STREAM_EMPTY_LINE_MS finds out
 * whether the reader is still there. */
struct httpd_stream *httpd_stream_new(void (*closed)(void *ctx, struct httpd_stream *s), void *ctx);
/* False: the reader is slow and the stream is full; nothing of `text` will be sent. */
bool httpd_stream_put(struct httpd_stream *s, const char *text, size_t bytes);

const char *httpd_library_version(void);

#endif
