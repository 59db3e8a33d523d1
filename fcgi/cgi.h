/* fcgi/cgi.h - One public request as the web server passes it on: by FastCGI, or by plain CGI on a
 * host that has no FastCGI. The only file that includes fcgiapp.h. */
#ifndef PIPEGATE_CGI_H
#define PIPEGATE_CGI_H

#include "common/check.h"
#include "fcgi/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cgi;

void cgi_init(void); /* call once, before any thread starts */

struct cgi *cgi_new(int fd);	 /* takes a FastCGI connection: one request after another */
struct cgi *cgi_new_plain(void); /* plain CGI: the one request in the environment */
void cgi_destroy(struct cgi **cp);

int cgi_descriptor(const struct cgi *c); /* -1: closed, or plain CGI */

enum cgi_state {
	CGI_DISCONNECTED, /* closed by the web server, or not to be used again */
	CGI_IDLE,	  /* no request has begun to arrive */
	CGI_OLD,	  /* like CGI_IDLE so far, but more must be discarded: call again */
	CGI_INCOMPLETE,	  /* some of a request's parameters have arrived */
	CGI_PARAMETERS,	  /* all parameters have arrived, the body has not */
	CGI_WHOLE,	  /* a whole request with its body: reading it does not block */
	CGI_LONG,	  /* larger than the peek buffer: reading it may block */
};

enum { CGI_PEEK_BYTES = 32 * 1024 };

/* Tells how much of a request has arrived, without reading it. Discards what arrives of earlier
 * requests on the connection: a web server that keeps it sends what it has begun of a body, or
 * nothing more of it, where the response was early. `scratch` holds CGI_PEEK_BYTES. Does not block,
 * and handles a bounded amount per call. */
enum cgi_state cgi_peek(struct cgi *c, uint8_t *scratch);

/* Reads the parameters of a request. Returns false if the connection failed or no byte arrived for
 * five seconds; it is then closed. */
bool cgi_accept(struct cgi *c) MUST_CHECK;

struct request_parameters cgi_parameters(struct cgi *c);

enum { CGI_NOTHING = 0, CGI_END = -1, CGI_BROKEN = -2 };

/* Reads up to `bytes` of the request body as soon as any arrive; waits at most `wait_ms`.
 * CGI_NOTHING: none arrived. CGI_END: the body is complete. CGI_BROKEN: the body was truncated, or
 * its length is not the declared one. */
ssize_t cgi_read(struct cgi *c, void *out, size_t bytes, int wait_ms) MUST_CHECK;

/* Appends to the response, which is buffered until cgi_flush(). */
void cgi_write(struct cgi *c, const void *data, size_t bytes);
void cgi_end(struct cgi *c); /* marks the response as complete */

enum cgi_flush {
	CGI_SENT,
	CGI_BLOCKED, /* only if it must not block: bytes are left, call again */
	CGI_REFUSED  /* the connection is closed */
};

enum cgi_flush cgi_flush(struct cgi *c, bool may_block) MUST_CHECK;

/* Returns the time since the last byte of the response was sent. */
int64_t cgi_since_sent_us(const struct cgi *c);

/* What becomes of the connection, after cgi_end() and a flush. */
enum cgi_end {
	CGI_KEPT,   /* the web server keeps the connection for its next request */
	CGI_CLOSED, /* plain CGI too */
	/* Part of the request body has not arrived, or the connection cannot be used again: see
	 * cgi_linger(). */
	CGI_LINGERS,
	CGI_CUT_LATER /* the response is incomplete: see cgi_is_all_read() */
};
enum cgi_end cgi_finish(struct cgi *c);

/* CGI_KEPT: returns true if part of that request's body has not arrived. The web server may still
 * be sending, and not have read the response. */
bool cgi_awaits_rest(const struct cgi *c);

/* Tells the web server that the connection cannot be used for another request. It can still read
 * the response, and send: see cgi_linger(). */
void cgi_refuse_more(struct cgi *c);

/* Closing with unread input sends RST, which can destroy the response in flight. So the connection
 * is closed after the web server has closed its side: Apache does not look for a response before
 * the caller's next piece has arrived and was sent to us, which may last as long as its own
 * Timeout. Discards what has arrived, a bounded amount per call. Returns false when the connection
 * must be closed. */
bool cgi_linger(struct cgi *c) MUST_CHECK;

enum {
	CGI_LINGER_MIN_MS = 2000, /* even if another connection waits for the place */
	CGI_LINGER_MAX_MS = 300000,
};

/* Ends the connection after a truncated response, so that nobody treats it as complete. In plain
 * CGI the only way is to die by a signal, so this does not return there. */
void cgi_cut(struct cgi *c);

/* Returns true once the web server has read all that was sent. Only then may the connection be cut:
 * lighttpd 1.4 treats what it has as a complete response, and gives it a length, if it finds the
 * end of the connection together with the head. */
bool cgi_is_all_read(const struct cgi *c);

enum { CGI_CUT_MIN_MS = 20, CGI_CUT_MAX_MS = 1000 }; /* after the last byte was sent */

/* Returns true if the web server has closed the connection or it failed. Does not block. */
bool cgi_is_disconnected(const struct cgi *c);

#endif
