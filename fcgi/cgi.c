/* fcgi/cgi.c - see cgi.h. */
#include "fcgi/cgi.h"

#include "common/http.h"

#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

enum { DRAIN_BYTES = 1024 * 1024, DRAIN_WAIT_MS = 1000 };

struct cgi {
	int listen_fd; /* -1: plain CGI */
	FCGX_Request fcgi;
	char **entries;	      /* "NAME=value" */
	long long left_bytes; /* of the body, by its declared length; -1: unknown */
	bool body_ended;
};

void cgi_init(void)
{
	CHECK(FCGX_Init() == 0);
}

struct cgi *cgi_new(int listen_fd)
{
	struct cgi *c = xcalloc(1, sizeof *c);

	c->listen_fd = listen_fd;
	CHECK(FCGX_InitRequest(&c->fcgi, listen_fd, FCGI_FAIL_ACCEPT_ON_INTR) == 0);
	return c;
}

struct cgi *cgi_new_plain(void)
{
	struct cgi *c = xcalloc(1, sizeof *c);

	c->listen_fd = -1;
	return c;
}

void cgi_destroy(struct cgi **cp)
{
	struct cgi *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	if (c->listen_fd >= 0)
		FCGX_Free(&c->fcgi, 1);
	free(c);
}

static const char *get(void *ctx, const char *name)
{
	struct cgi *c = ctx;

	return FCGX_GetParam(name, c->entries);
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

static void begin(struct cgi *c, char **entries)
{
	const char *text;

	c->entries = entries;
	text = get(c, "CONTENT_LENGTH");
	c->body_ended = false;
	if (text == NULL || !http_length_parse(text, strlen(text), &c->left_bytes))
		c->left_bytes = -1;
}

int cgi_wait(struct cgi *c)
{
	if (c->listen_fd < 0 || c->fcgi.ipcFd >= 0)
		return 1;
	/* Our own accept(): libfcgi's polls each new connection once more, and can miss a signal between its
	 * check and the call. */
	c->fcgi.ipcFd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (c->fcgi.ipcFd < 0)
		return errno == EINTR ? 0 : -1;
	/* FCGX_Accept_r() first ends the request before, and would close the connection. */
	c->fcgi.keepConnection = 1;
	return 1;
}

bool cgi_accept(struct cgi *c)
{
	if (c->listen_fd >= 0 && FCGX_Accept_r(&c->fcgi) != 0)
		return false;
	begin(c, c->listen_fd >= 0 ? c->fcgi.envp : environ);
	return true;
}

/* --- the body --- */

/* The beginning of libfcgi's private stream data, the same in all its releases: a record that is in its
 * buffer already does not show in poll(). */
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
	if (in->stop == in->rdNext) { /* takes in the next record */
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
	ssize_t got = c->listen_fd < 0 ? read_plain(out, bytes, wait_ms)
				       : read_fcgi(c, out, bytes, wait_ms);
	if (got == CGI_END && c->left_bytes > 0)
		got = CGI_BROKEN; /* shorter than declared: never to be taken for whole */
	if (got == CGI_END || got == CGI_BROKEN)
		c->body_ended = true;
	if (got > 0 && c->left_bytes > 0)
		c->left_bytes -= got;
	return got;
}

/* --- the response --- */

static bool write_plain(const unsigned char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t sent = write(STDOUT_FILENO, data, bytes);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		data += sent;
		bytes -= (size_t)sent;
	}
	return true;
}

bool cgi_write(struct cgi *c, const void *data, size_t bytes)
{
	if (c->listen_fd < 0)
		return write_plain(data, bytes);
	return bytes == 0 || FCGX_PutStr(data, (int)bytes, c->fcgi.out) == (int)bytes;
}

bool cgi_flush(struct cgi *c)
{
	return c->listen_fd < 0 || FCGX_FFlush(c->fcgi.out) == 0;
}

/* On a connection that the web server keeps, the rest of the body must go, or the next request there
 * starts with it. A long rest is not worth it: the connection is closed instead. */
static void drain_or_close(struct cgi *c)
{
	unsigned char trash[8192];
	size_t drained = 0;
	ssize_t got;

	do {
		got = read_fcgi(c, trash, sizeof trash, DRAIN_WAIT_MS);
		drained += got > 0 ? (size_t)got : 0;
	} while (got > 0 && drained < DRAIN_BYTES);
	if (got != CGI_END)
		c->fcgi.keepConnection = 0;
}

/* libfcgi closes politely: it says that nothing follows, and waits until the web server has closed. That
 * is for data that may still come. Where the end of the body is here already, none will. */
static void close_at_once_if_all_came(struct cgi *c)
{
	unsigned char byte;

	if (read_fcgi(c, &byte, 1, 0) == CGI_END)
		FCGX_Detach(&c->fcgi);
}

bool cgi_keeps_connection(const struct cgi *c)
{
	return c->listen_fd >= 0 && c->fcgi.ipcFd >= 0;
}

void cgi_finish(struct cgi *c)
{
	if (c->listen_fd < 0)
		return;
	if (c->fcgi.keepConnection)
		drain_or_close(c);
	else
		close_at_once_if_all_came(c);
	FCGX_Finish_r(&c->fcgi);
}

void cgi_cut(struct cgi *c)
{
	if (c->listen_fd < 0) {
		signal(SIGKILL, SIG_DFL);
		kill(getpid(), SIGKILL);
	}
	shutdown(c->fcgi.ipcFd, SHUT_RDWR);
	FCGX_Free(&c->fcgi, 1); /* without END_REQUEST */
}
