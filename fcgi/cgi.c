/* fcgi/cgi.c - see cgi.h. */
#include "fcgi/cgi.h"

#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "fcgi/record.h"

#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

extern char **environ;

enum {
	DRAIN_BYTES = 1024 * 1024,
	/* How long libfcgi waits for the next byte of a request that has begun to arrive. */
	RECEIVE_TIMEOUT_S = 5,
};

struct cgi {
	bool plain;
	FCGX_Request fcgi;
	char **entries;	      /* "NAME=value" */
	long long left_bytes; /* of the body, by its declared length; -1: unknown */
	bool body_ended;
	struct buf out;	   /* records not yet sent; plain CGI: the response */
	size_t open_bytes; /* of the last record in `out` */
	int64_t sent_us;   /* when the last byte of `out` was sent */
};

void cgi_init(void)
{
	CHECK(FCGX_Init() == 0);
}

struct cgi *cgi_new(int fd)
{
	struct cgi *c = xcalloc(1, sizeof *c);
	struct timeval most = {.tv_sec = RECEIVE_TIMEOUT_S};

	/* A web server sends parameters, and each record, without pauses. */
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0);
	/* No listening socket: otherwise libfcgi would accept another connection when this one
	 * fails. */
	CHECK(FCGX_InitRequest(&c->fcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR) == 0);
	c->fcgi.ipcFd = fd;
	/* Detached, libfcgi closes a connection with a malformed request at once, without its own
	 * linger of two seconds; see cgi_linger(). */
	FCGX_Detach(&c->fcgi);
	return c;
}

struct cgi *cgi_new_plain(void)
{
	struct cgi *c = xcalloc(1, sizeof *c);

	c->plain = true;
	c->fcgi.ipcFd = -1;
	return c;
}

static void close_now(struct cgi *c)
{
	if (c->fcgi.ipcFd < 0)
		return;
	FCGX_Free(&c->fcgi, 1);
}

void cgi_destroy(struct cgi **cp)
{
	struct cgi *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	close_now(c);
	buf_fini(&c->out);
	free(c);
}

int cgi_descriptor(const struct cgi *c)
{
	return c->fcgi.ipcFd;
}

bool cgi_is_disconnected(const struct cgi *c)
{
	struct pollfd p = {.fd = c->fcgi.ipcFd, .events = POLLRDHUP};

	/* Not by reading: the end of the request may still be unread there. */
	return !c->plain && poll(&p, 1, 0) > 0;
}

enum cgi_state cgi_peek(struct cgi *c, uint8_t *scratch)
{
	static const enum cgi_state states[] = {
		[RECORD_INCOMPLETE] = CGI_INCOMPLETE,
		[RECORD_PARAMETERS] = CGI_PARAMETERS,
		[RECORD_WHOLE] = CGI_WHOLE,
		[RECORD_UNEXPECTED] = CGI_LONG,
	};
	ssize_t got = recv(c->fcgi.ipcFd, scratch, CGI_PEEK_BYTES, MSG_PEEK | MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? CGI_IDLE : CGI_DISCONNECTED;
	if (got == 0)
		return CGI_DISCONNECTED;
	enum cgi_state state = states[record_state(scratch, (size_t)got)];
	return got == CGI_PEEK_BYTES && state != CGI_WHOLE ? CGI_LONG : state;
}

static const char *get(void *ctx, const char *name)
{
	struct cgi *c = ctx;
	size_t bytes = strlen(name);

	for (char **e = c->entries; *e != NULL; e++) {
		if (**e == *name && strncmp(*e, name, bytes) == 0 && (*e)[bytes] == '=')
			return *e + bytes + 1;
	}
	return NULL;
}

static const char *entry(void *ctx, size_t index)
{
	struct cgi *c = ctx;

	return c->entries[index];
}

struct request_parameters cgi_parameters(struct cgi *c)
{
	return (struct request_parameters){.ctx = c, .get = get, .entry = entry};
}

/* Logs a record with -v. Parameters hold secrets, so only bodies have a length. `bytes` may be
 * CGI_END or CGI_BROKEN. */
static void log_record(const struct cgi *c, const char *event, const char *type, ssize_t bytes)
{
	log_debug("%s fd=%d request=%d type=%s bytes=%zd", event, c->fcgi.ipcFd, c->fcgi.requestId,
		  type, bytes);
}

bool cgi_accept(struct cgi *c)
{
	const char *text;

	/* FCGX_Accept_r() first finishes the previous request, and would close the connection. */
	c->fcgi.keepConnection = 1;
	if (!c->plain && FCGX_Accept_r(&c->fcgi) != 0)
		return false;
	c->entries = c->plain ? environ : c->fcgi.envp;
	log_record(c, "fastcgi.in", "PARAMS", 0);
	c->body_ended = false;
	text = get(c, "CONTENT_LENGTH");
	if (text == NULL || !http_length_parse(text, strlen(text), &c->left_bytes))
		c->left_bytes = -1;
	return true;
}

/* --- the body --- */

/* The beginning of libfcgi's private stream data, the same in all its releases. poll() does not
 * show a record that is already in its buffer. */
struct stream_data {
	unsigned char *buffer;
	int buffer_bytes;
	unsigned char *allocated;
	unsigned char *buffer_stop;
};

static bool is_buffered(const FCGX_Stream *in)
{
	const struct stream_data *d = in->data;

	return in->stop > in->rdNext || in->isClosed || d->buffer_stop > in->stop;
}

/* Bytes after the finished request: libfcgi has read them, and drops them. */
static bool is_ahead(const FCGX_Stream *in)
{
	const struct stream_data *d = in->data;

	return d->buffer_stop > in->rdNext;
}

static bool is_readable(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, wait_ms) > 0;
}

static ssize_t read_fcgi(struct cgi *c, unsigned char *out, size_t bytes, int wait_ms)
{
	FCGX_Stream *in = c->fcgi.in;
	size_t used = 0;

	if (!is_buffered(in) && !is_readable(c->fcgi.ipcFd, wait_ms))
		return CGI_NOTHING;
	if (in->stop == in->rdNext) { /* reads the next record */
		int byte = FCGX_GetChar(in);
		if (byte == EOF)
			return FCGX_GetError(in) == 0 ? CGI_END : CGI_BROKEN;
		out[used++] = (unsigned char)byte;
	}
	size_t ready = (size_t)(in->stop - in->rdNext);
	if (ready > bytes - used)
		ready = bytes - used;
	if (ready > 0)
		used += (size_t)FCGX_GetStr((char *)out + used, (int)ready, in);
	return (ssize_t)used;
}

static ssize_t read_plain(unsigned char *out, size_t bytes, int wait_ms)
{
	if (!is_readable(STDIN_FILENO, wait_ms))
		return CGI_NOTHING;
	ssize_t got = read(STDIN_FILENO, out, bytes);
	if (got < 0)
		return errno == EINTR ? CGI_NOTHING : CGI_BROKEN;
	return got == 0 ? CGI_END : got;
}

ssize_t cgi_read(struct cgi *c, void *out, size_t bytes, int wait_ms)
{
	if (c->left_bytes == 0 || c->body_ended)
		return CGI_END;
	if (c->left_bytes > 0 && (long long)bytes > c->left_bytes)
		bytes = (size_t)c->left_bytes;
	ssize_t got =
		c->plain ? read_plain(out, bytes, wait_ms) : read_fcgi(c, out, bytes, wait_ms);
	if (got == CGI_END && c->left_bytes > 0)
		got = CGI_BROKEN; /* shorter than declared: must not count as complete */
	if (got == CGI_END || got == CGI_BROKEN)
		c->body_ended = true;
	if (got > 0 && c->left_bytes > 0)
		c->left_bytes -= got;
	if (got != CGI_NOTHING)
		log_record(c, "fastcgi.in", "STDIN", got);
	return got;
}

/* --- the response --- */

void cgi_write(struct cgi *c, const void *data, size_t bytes)
{
	log_record(c, "fastcgi.out", "STDOUT", (ssize_t)bytes);
	if (c->plain)
		buf_append(&c->out, data, bytes);
	else
		record_put_output(&c->out, &c->open_bytes, c->fcgi.requestId, data, bytes);
}

void cgi_end(struct cgi *c)
{
	log_record(c, "fastcgi.out", "END_REQUEST", 0);
	if (!c->plain)
		record_put_end(&c->out, c->fcgi.requestId);
	c->open_bytes = 0;
}

/* The parent of the CGI program may have made its output non-blocking. */
static void wait_for_output(void)
{
	struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};

	(void)poll(&p, 1, -1);
}

static ssize_t send_some(const struct cgi *c, bool may_block)
{
	const uint8_t *data = buf_first(&c->out);
	size_t bytes = buf_bytes(&c->out);

	if (c->plain)
		return write(STDOUT_FILENO, data, bytes);
	return send(c->fcgi.ipcFd, data, bytes, MSG_NOSIGNAL | (may_block ? 0 : MSG_DONTWAIT));
}

enum cgi_flush cgi_flush(struct cgi *c, bool may_block)
{
	c->open_bytes = 0;
	while (buf_bytes(&c->out) > 0) {
		c->sent_us = clock_now_us();
		ssize_t sent = send_some(c, may_block);
		if (sent >= 0)
			buf_consume(&c->out, (size_t)sent);
		else if (errno == EAGAIN && c->plain)
			wait_for_output();
		else if (errno == EAGAIN && !may_block)
			return CGI_BLOCKED;
		else if (errno != EINTR)
			return CGI_REFUSED;
	}
	return CGI_SENT;
}

int64_t cgi_since_sent_us(const struct cgi *c)
{
	return clock_now_us() - c->sent_us;
}

static void set_blocking(const struct cgi *c, bool blocking)
{
	int on = !blocking;

	CHECK(ioctl(c->fcgi.ipcFd, FIONBIO, &on) == 0);
}

/* Reads the rest of the body off the connection. Returns false if its end has not arrived. Does not
 * block, not even where half a record has arrived: libfcgi treats that as an error then, and the
 * connection is not used again. */
static bool drain(struct cgi *c)
{
	unsigned char trash[8192];
	size_t drained = 0;
	ssize_t got;

	set_blocking(c, false);
	do {
		got = read_fcgi(c, trash, sizeof trash, 0);
		drained += got > 0 ? (size_t)got : 0;
	} while (got > 0 && drained < DRAIN_BYTES);
	set_blocking(c, true);
	return got == CGI_END;
}

/* Returns true if a part of the body may still be in flight. A chunked body has no length. */
static bool is_uploading(struct cgi *c)
{
	bool chunked = get(c, "HTTP_TRANSFER_ENCODING") != NULL;

	return !c->body_ended && (c->left_bytes > 0 || (c->left_bytes < 0 && chunked));
}

enum cgi_end cgi_finish(struct cgi *c)
{
	if (c->plain)
		return CGI_CLOSED;
	/* Apache drops what it has not sent of a body, and uses a connection that looks open for
	 * its next request. libfcgi would answer that request with an empty response. */
	bool uploading = is_uploading(c);
	if (uploading)
		shutdown(c->fcgi.ipcFd, SHUT_WR);
	/* On a kept connection the rest of a body would be read as the start of the next
	 * request. */
	bool all_came = !uploading && drain(c);
	if (all_came && !c->fcgi.keepConnection) {
		close_now(c);
		return CGI_CLOSED;
	}
	bool keep = all_came && !is_ahead(c->fcgi.in);
	FCGX_Free(&c->fcgi, 0);
	if (keep)
		return CGI_KEPT;
	shutdown(c->fcgi.ipcFd, SHUT_WR);
	return CGI_LINGERS;
}

bool cgi_linger(struct cgi *c)
{
	unsigned char trash[8192];
	ssize_t got = 1;

	for (size_t taken = 0; got > 0 && taken < DRAIN_BYTES; taken += sizeof trash)
		got = recv(c->fcgi.ipcFd, trash, sizeof trash, MSG_DONTWAIT);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

bool cgi_may_cut(const struct cgi *c)
{
	int unread_bytes = 0;

	/* A unix socket counts what the peer has not read. TCP counts what is not acknowledged, the
	 * best available there. */
	return ioctl(c->fcgi.ipcFd, TIOCOUTQ, &unread_bytes) != 0 || unread_bytes == 0;
}

void cgi_cut(struct cgi *c)
{
	if (c->plain) {
		signal(SIGKILL, SIG_DFL);
		kill(getpid(), SIGKILL);
	}
	buf_fini(&c->out);
	if (c->fcgi.ipcFd >= 0)
		shutdown(c->fcgi.ipcFd, SHUT_RDWR);
	close_now(c); /* without END_REQUEST */
}
