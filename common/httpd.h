/* common/httpd.h - Small HTTP endpoints for operators: GET of a few fixed paths, served from
 * memory, one request per connection. Connections are limited in number, head size and lifetime,
 * so a slow or hostile peer occupies one of HTTPD_CONNECTIONS_MAX connections for at most
 * HTTPD_LIFE_MS. A large response is written as fast as the peer reads it; the loop never
 * blocks. httpd.c is the only file that includes microhttpd.h. */
#ifndef PIPEGATE_HTTPD_H
#define PIPEGATE_HTTPD_H

#include "common/check.h"

#include <stddef.h>
#include <uv.h>

enum {
	HTTPD_CONNECTIONS_MAX = 32,
	HTTPD_MEMORY_BYTES = 32 * 1024, /* per connection; a larger request head gets 431 */
	HTTPD_SILENCE_S = 10,		/* idle time after which a connection is closed */
	HTTPD_LIFE_MS = 60000,		/* from accept() to the last byte of the response */
};

struct httpd_response {
	int status;
	const char *content_type; /* not copied */
	char *body;		  /* from malloc(); httpd frees it once it is sent */
	size_t body_bytes;
};

/* Fills `out`. */
typedef void (*httpd_handler)(void *ctx, struct httpd_response *out);

/* A path serves GET and HEAD. Other methods and paths get 404 `not-found`. */
struct httpd_route {
	const char *path;
	httpd_handler handler;
};

struct httpd;

/* Listens at `spec`, ADDR:PORT or unix:PATH (common/endpoint.h). `name` is the variable to name in
 * error messages; `socket_group` is the group of a unix socket, or NULL. `routes` ends with a NULL
 * path and is not copied. NULL: the reason was written to stderr. */
struct httpd *httpd_new(uv_loop_t *loop, const char *spec, const char *name,
			const char *socket_group, const struct httpd_route *routes, void *ctx);
const char *httpd_address(const struct httpd *h); /* with the port that was chosen */
void httpd_stop(struct httpd *h);		  /* closes all its connections; NULL is allowed */
void httpd_destroy(struct httpd **hp);		  /* after httpd_stop() and a turn of the loop */

const char *httpd_library_version(void);

#endif
