/* fcgi/cgi.h - One public request as the web server hands it over: FastCGI, or plain CGI for a
 * host that has nothing better. The only file that includes fcgiapp.h. */
#ifndef PIPEGATE_CGI_H
#define PIPEGATE_CGI_H

#include "common/check.h"
#include "fcgi/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cgi;

void cgi_init(void); /* once, before any thread */

struct cgi *cgi_new(int fd);	 /* takes a FastCGI connection: one request after the other */
struct cgi *cgi_new_plain(void); /* CGI: the one request in the environment */
void cgi_destroy(struct cgi **cp);

int cgi_descriptor(const struct cgi *c); /* -1: closed, or plain CGI */

enum cgi_state {
	CGI_GONE,	/* the web server has closed it */
	CGI_IDLE,	/* nothing has come since the last request */
	CGI_PART,	/* some of a request's parameters */
	CGI_PARAMETERS, /* all of them; the body is not whole */
	CGI_WHOLE,	/* a request, its body too: reading it does not block */
	CGI_LONG,	/* more than can be looked at: reading it may block */
};

enum { CGI_LOOK_BYTES = 32 * 1024 };

/* What is there, without reading it. `scratch`: CGI_LOOK_BYTES. Does not block. */
enum cgi_state cgi_look(struct cgi *c, uint8_t *scratch);

/* Reads the parameters of a request. False: the connection broke, or nothing came for five
 * seconds; it is closed. */
bool cgi_accept(struct cgi *c) MUST_CHECK;

struct request_parameters cgi_parameters(struct cgi *c);

enum { CGI_NOTHING = 0, CGI_END = -1, CGI_BROKEN = -2 };

/* Up to `bytes` of the request body, as soon as any are there: waits `wait_ms` at most.
 * CGI_NOTHING: none came. CGI_END: that was all of it. CGI_BROKEN: it was cut, or is not as long
 * as declared. */
ssize_t cgi_read(struct cgi *c, void *out, size_t bytes, int wait_ms) MUST_CHECK;

/* The answer, gathered until cgi_flush(). */
void cgi_write(struct cgi *c, const void *data, size_t bytes);
void cgi_end(struct cgi *c); /* it is complete with what was written */

enum cgi_flush {
	CGI_SENT,
	CGI_STUCK,  /* only where it must not block: some is left, call again */
	CGI_REFUSED /* the caller left */
};

enum cgi_flush cgi_flush(struct cgi *c, bool may_block) MUST_CHECK;

/* Since the last of the answer was sent. */
int64_t cgi_sent_ago_us(const struct cgi *c);

/* After cgi_end() and a flush. */
enum cgi_end {
	CGI_KEPT,   /* the web server keeps the connection for its next request */
	CGI_CLOSED, /* plain CGI too */
	/* Some of the request body is still to arrive, or the next request was lost: see
	 * cgi_linger(). */
	CGI_LINGERS,
	CGI_TO_CUT /* what was sent is not all there should be: see cgi_may_cut() */
};
enum cgi_end cgi_finish(struct cgi *c);

/* Closed with something unread the connection would be reset, and the answer might be lost. So
 * it is closed once the web server has closed: Apache does not look for an answer before the
 * caller's next piece has come and is sent to us, which may last as long as its own Timeout.
 * Takes what has come, if it is not too much at a time. False: it is time to close. */
bool cgi_linger(struct cgi *c) MUST_CHECK;

enum {
	CGI_LINGER_LEAST_MS = 2000, /* whoever else wants to connect */
	CGI_LINGER_MOST_MS = 300000,
};

/* The response was cut: ends the connection so that nobody takes it for complete. In CGI mode
 * the only way is to die by a signal, so this does not return there. */
void cgi_cut(struct cgi *c);

/* lighttpd 1.4 takes what it has for a complete answer, and gives it a length, if it finds the
 * end of the connection together with the head. So a cut comes once the web server has read what
 * was sent. */
bool cgi_may_cut(const struct cgi *c);

enum { CGI_CUT_LEAST_MS = 20, CGI_CUT_MOST_MS = 1000 }; /* after the last byte was sent */

/* The web server has closed the connection, or it broke. Does not block. */
bool cgi_is_gone(const struct cgi *c);

#endif
