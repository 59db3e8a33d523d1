/* fcgi/cgi.h - One public request as the web server hands it over: FastCGI, or plain CGI for a host that
 * has nothing better. The only file that includes fcgiapp.h. */
#ifndef PIPEGATE_CGI_H
#define PIPEGATE_CGI_H

#include "common/check.h"
#include "fcgi/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cgi;

void cgi_init(void); /* once, before any thread */

struct cgi *cgi_new(int listen_fd); /* FastCGI: serves one request after the other */
struct cgi *cgi_new_plain(void);    /* CGI: the one request in the environment */
void cgi_destroy(struct cgi **cp);

/* Waits for a connection, where the web server has not kept one. 1: it is there. 0: interrupted by a
 * signal. -1: an error; wait a little and try again. */
int cgi_wait(struct cgi *c) MUST_CHECK;

/* Reads the parameters of a request. False: the connection broke. A signal here would break it too. */
bool cgi_accept(struct cgi *c) MUST_CHECK;

struct request_parameters cgi_parameters(struct cgi *c);

enum { CGI_NOTHING = 0, CGI_END = -1, CGI_BROKEN = -2 };

/* Up to `bytes` of the request body, as soon as any are there: waits `wait_ms` at most. CGI_NOTHING:
 * none came. CGI_END: that was all of it. CGI_BROKEN: it was cut, or is not as long as declared. */
ssize_t cgi_read(struct cgi *c, void *out, size_t bytes, int wait_ms) MUST_CHECK;

bool cgi_write(struct cgi *c, const void *data,
	       size_t bytes) MUST_CHECK;  /* false: the caller left */
bool cgi_flush(struct cgi *c) MUST_CHECK; /* likewise */

void cgi_finish(struct cgi *c); /* the response is complete */

/* Between requests: the next one comes on a connection that the web server keeps, so this
 * thread cannot take anybody else's. */
bool cgi_keeps_connection(const struct cgi *c);

/* The response was cut: ends the connection so that nobody takes it for complete. In CGI mode the only
 * way is to die by a signal, so this does not return there. */
void cgi_cut(struct cgi *c);

#endif
