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
#include <sys/uio.h>
#include <unistd.h>

extern char **environ;

enum {
	DRAIN_BYTES = 1024 * 1024,
	READ_AHEAD_BYTES = 32 * 1024, /* several records of a body in one system call */
	READS_MAX = 16,		      /* per call, of records that carry no byte of the body */
	PEEKS_MAX = 8,
	/* How long libfcgi waits for the next byte of a request that has begun to arrive. */
	RECEIVE_TIMEOUT_S = 5,
};

struct cgi {
	bool plain;
	FCGX_Request fcgi;
	char **entries;	      /* "NAME=value" */
	long long left_bytes; /* of the body, by its declared length; -1: unknown */
	bool body_ended;
	struct record_body records;
	/* Records that were read and not consumed yet. Between two requests: part of a header. */
	struct buf in;
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
	buf_fini(&c->in);
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

/* Discards what has arrived of earlier requests. `scratch` has *bytes, those of c->in first, which
 * were read already. Returns false if the connection failed. */
static bool discard_old(struct cgi *c, uint8_t *scratch, size_t *bytes)
{
	size_t read_bytes = buf_bytes(&c->in);
	size_t old = record_body_skip(&c->records, scratch, *bytes);

	/* A request cannot begin in what was read of the last one. */
	if (old == 0)
		return read_bytes == 0 || *bytes < RECORD_HEADER_BYTES;
	CHECK(old >= read_bytes);
	buf_consume(&c->in, read_bytes);
	old -= read_bytes;
	*bytes -= read_bytes;
	if (old > 0 && recv(c->fcgi.ipcFd, scratch + read_bytes, old, MSG_DONTWAIT) != (ssize_t)old)
		return false;
	*bytes -= old;
	memmove(scratch, scratch + read_bytes + old, *bytes);
	return true;
}

enum cgi_state cgi_peek(struct cgi *c, uint8_t *scratch)
{
	static const enum cgi_state states[] = {
		[RECORD_INCOMPLETE] = CGI_INCOMPLETE,
		[RECORD_PARAMETERS] = CGI_PARAMETERS,
		[RECORD_WHOLE] = CGI_WHOLE,
		[RECORD_UNEXPECTED] = CGI_LONG,
	};

	for (int i = 0; i < PEEKS_MAX; i++) {
		size_t read_bytes = buf_bytes(&c->in);
		if (read_bytes > 0)
			memcpy(scratch, buf_first(&c->in), read_bytes);
		ssize_t got = recv(c->fcgi.ipcFd, scratch + read_bytes, CGI_PEEK_BYTES - read_bytes,
				   MSG_PEEK | MSG_DONTWAIT);
		if (got < 0)
			return errno == EAGAIN || errno == EINTR ? CGI_IDLE : CGI_DISCONNECTED;
		if (got == 0)
			return CGI_DISCONNECTED;
		size_t all = read_bytes + (size_t)got, left = all;
		if (!discard_old(c, scratch, &left))
			return CGI_DISCONNECTED;
		enum cgi_state state = states[record_state(scratch, left)];
		if (all < CGI_PEEK_BYTES)
			return left > 0 ? state : CGI_IDLE;
		if (state == CGI_WHOLE || left == all)
			return state == CGI_WHOLE ? CGI_WHOLE : CGI_LONG;
	}
	return CGI_OLD;
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

/* The beginning of libfcgi's private stream data, the same in all its releases. */
struct stream_data {
	unsigned char *buffer;
	int buffer_bytes;
	unsigned char *allocated;
	unsigned char *buffer_stop;
};

/* Takes over from libfcgi behind the parameters, with what it has read further. */
static void take_over(struct cgi *c)
{
	const FCGX_Stream *in = c->fcgi.in;
	const struct stream_data *d = in->data;
	size_t bytes = (size_t)(d->buffer_stop - in->rdNext);

	c->records = (struct record_body){.request_id = (uint16_t)c->fcgi.requestId};
	size_t consumed = record_body_next(&c->records, in->rdNext, bytes);
	buf_append(&c->in, in->rdNext + consumed, bytes - consumed);
}

bool cgi_accept(struct cgi *c)
{
	const char *text;

	/* FCGX_Accept_r() first finishes the previous request, and would close the connection. */
	c->fcgi.keepConnection = 1;
	if (!c->plain && FCGX_Accept_r(&c->fcgi) != 0)
		return false;
	if (!c->plain)
		take_over(c);
	c->entries = c->plain ? environ : c->fcgi.envp;
	log_record(c, "fastcgi.in", "PARAMS", 0);
	c->body_ended = false;
	text = get(c, "CONTENT_LENGTH");
	if (text == NULL || !http_length_parse(text, strlen(text), &c->left_bytes))
		c->left_bytes = -1;
	return true;
}

/* --- the body --- */

static bool is_readable(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, wait_ms) > 0;
}

/* Takes from what was read before. CGI_NOTHING: the rest must be received. */
static ssize_t read_buffered(struct cgi *c, void *out, size_t bytes)
{
	struct record_body *r = &c->records;

	buf_consume(&c->in, record_body_next(r, buf_first(&c->in), buf_bytes(&c->in)));
	if (r->broken)
		return CGI_BROKEN;
	if (r->ended)
		return CGI_END;
	if (bytes > r->content_bytes)
		bytes = r->content_bytes;
	if (bytes > buf_bytes(&c->in))
		bytes = buf_bytes(&c->in);
	if (bytes == 0 || r->content_bytes == 0)
		return CGI_NOTHING;
	memcpy(out, buf_first(&c->in), bytes);
	buf_consume(&c->in, bytes);
	r->content_bytes -= bytes;
	return (ssize_t)bytes;
}

/* Receives the content of the current record into `out`, and what follows it into c->in. Returns
 * false if nothing has arrived. */
static bool receive(struct cgi *c, void *out, size_t bytes, ssize_t *got)
{
	struct record_body *r = &c->records;
	size_t direct = bytes < r->content_bytes ? bytes : r->content_bytes;
	size_t ahead = direct == r->content_bytes ? READ_AHEAD_BYTES : 0;
	struct iovec parts[] = {{out, direct},
				{ahead > 0 ? buf_extend(&c->in, ahead) : NULL, ahead}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t all = recvmsg(c->fcgi.ipcFd, &message, MSG_DONTWAIT);
	bool nothing = all < 0 && (errno == EAGAIN || errno == EINTR);
	size_t used = all > 0 ? (size_t)all : 0;

	if (used < direct)
		direct = used;
	if (ahead > 0)
		buf_shrink(&c->in, ahead - (used - direct));
	r->content_bytes -= direct;
	r->broken = r->broken || (all <= 0 && !nothing);
	*got = (ssize_t)direct;
	return !nothing;
}

static ssize_t read_records(struct cgi *c, void *out, size_t bytes, int wait_ms)
{
	for (int i = 0; i < READS_MAX; i++) {
		ssize_t got = read_buffered(c, out, bytes);
		if (got != CGI_NOTHING)
			return got;
		bool arrived = receive(c, out, bytes, &got);
		if (got > 0)
			return got;
		if (!arrived && (wait_ms == 0 || !is_readable(c->fcgi.ipcFd, wait_ms)))
			return CGI_NOTHING;
		wait_ms = arrived ? wait_ms : 0;
	}
	return CGI_NOTHING;
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
		c->plain ? read_plain(out, bytes, wait_ms) : read_records(c, out, bytes, wait_ms);
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

/* Reads the rest of the body, a bounded amount. Returns false if its end has not arrived. */
static bool drain(struct cgi *c)
{
	unsigned char trash[8192];
	size_t drained = 0;
	ssize_t got;

	do {
		got = read_records(c, trash, sizeof trash, 0);
		drained += got > 0 ? (size_t)got : 0;
	} while (got > 0 && drained < DRAIN_BYTES);
	return got == CGI_END;
}

/* Returns true if a part of the body may still be in flight. A chunked body has no length. */
static bool is_uploading(struct cgi *c)
{
	bool chunked = get(c, "HTTP_TRANSFER_ENCODING") != NULL;

	return !c->body_ended && !c->records.ended &&
	       (c->left_bytes > 0 || (c->left_bytes < 0 && chunked));
}

/* Returns true if the web server keeps the connection, and nothing that was read of it belongs to
 * another request: what still arrives of this one is discarded by cgi_peek(). */
static bool can_keep(struct cgi *c)
{
	if (!c->fcgi.keepConnection || c->records.broken)
		return false;
	buf_consume(&c->in, record_body_skip(&c->records, buf_first(&c->in), buf_bytes(&c->in)));
	return buf_bytes(&c->in) < RECORD_HEADER_BYTES;
}

enum cgi_end cgi_finish(struct cgi *c)
{
	if (c->plain)
		return CGI_CLOSED;
	if (can_keep(c)) {
		FCGX_Free(&c->fcgi, 0);
		return CGI_KEPT;
	}
	if (!c->fcgi.keepConnection && !is_uploading(c) && drain(c)) {
		close_now(c);
		return CGI_CLOSED;
	}
	FCGX_Free(&c->fcgi, 0);
	cgi_refuse_more(c);
	return CGI_LINGERS;
}

bool cgi_awaits_rest(const struct cgi *c)
{
	return !c->records.ended;
}

void cgi_refuse_more(struct cgi *c)
{
	shutdown(c->fcgi.ipcFd, SHUT_WR);
}

bool cgi_linger(struct cgi *c)
{
	unsigned char trash[8192];
	ssize_t got = 1;

	for (size_t taken = 0; got > 0 && taken < DRAIN_BYTES; taken += sizeof trash)
		got = recv(c->fcgi.ipcFd, trash, sizeof trash, MSG_DONTWAIT);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

bool cgi_is_all_read(const struct cgi *c)
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
