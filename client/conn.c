/* client/conn.c - see conn.h. */
#include "client/conn.h"

#include "common/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	TLS_PIECE_BYTES = 16 * 1024,
	/* Limit on unsent bytes in the kernel, so that urgent ones do not wait behind them. */
	NOT_SENT_LOW_WATER = 128 * 1024,
};

struct conn {
	struct dialer *dialer;
	struct dialer_attempt *attempt; /* TLS: it encrypts and decrypts */
	const struct conn_events *events;
	void *ctx;
	bool has_tls;
	int fd; /* -1: not connected */
	uv_poll_t poll;
	int watched; /* UV_READABLE, UV_WRITABLE; 0: the poll handle is stopped */
	/* Everything that had arrived at the last event has been read. */
	bool drained;
	/* A write failed with a reset: an end of input that is read now does not come from the
	 * app. */
	bool reset;
	uint8_t *tls_piece; /* TLS: the bytes being sent; NULL: none yet */
	size_t tls_bytes;   /* of tls_piece, to be retried */
	int broken_by;	    /* errno that broke the connection; 0: unknown */
};

/* --- bytes --- */

static ssize_t broken(struct conn *c, int by)
{
	if (c->broken_by == 0)
		c->broken_by = by;
	return CONN_BROKEN;
}

static ssize_t read_tls(struct conn *c, void *out, size_t bytes)
{
	size_t got = 0;

	switch (dialer_receive(c->attempt, out, bytes, &got)) {
	case DIALER_WAIT:
		return CONN_WAIT;
	case DIALER_BROKEN:
		return broken(c, dialer_error(c->attempt));
	default:
		return got > 0 ? (ssize_t)got : CONN_END;
	}
}

ssize_t conn_read(struct conn *c, void *out, size_t bytes)
{
	ssize_t got;

	if (c->has_tls)
		return read_tls(c, out, bytes);
	if (c->drained)
		return CONN_WAIT;
	do {
		got = recv(c->fd, out, bytes, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	c->drained = got != 0 && got < (ssize_t)bytes;
	if (got > 0)
		return got;
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_WAIT : broken(c, errno);
	return c->reset ? CONN_BROKEN : CONN_END;
}

/* OpenSSL requires a retry to pass the same bytes at the same address. */
static ssize_t write_tls(struct conn *c, const void *data, size_t bytes)
{
	size_t sent = 0;

	if (c->tls_piece == NULL)
		c->tls_piece = xmalloc(TLS_PIECE_BYTES);
	if (c->tls_bytes == 0) {
		c->tls_bytes = bytes < TLS_PIECE_BYTES ? bytes : TLS_PIECE_BYTES;
		memcpy(c->tls_piece, data, c->tls_bytes);
	}
	enum dialer_result result = dialer_send(c->attempt, c->tls_piece, c->tls_bytes, &sent);
	if (result == DIALER_WAIT)
		return CONN_WAIT;
	c->tls_bytes = 0;
	return result == DIALER_OK ? (ssize_t)sent : broken(c, dialer_error(c->attempt));
}

ssize_t conn_write(struct conn *c, const void *data, size_t bytes)
{
	ssize_t sent;

	if (c->has_tls)
		return write_tls(c, data, bytes);
	do {
		sent = send(c->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return CONN_WAIT;
	/* The kernel reports a pending socket error only once. EPIPE follows the app's regular end,
	 * or an earlier error. */
	c->reset = c->reset || errno != EPIPE;
	c->drained = false;
	return broken(c, errno);
}

bool conn_end_writing(struct conn *c)
{
	/* TLS would need a close_notify, which libcurl cannot send. */
	return !c->has_tls && shutdown(c->fd, SHUT_WR) == 0;
}

bool conn_is_quiet(struct conn *c)
{
	char byte;

	/* libcurl or OpenSSL may hold bytes; a session ticket does not come from the app. */
	if (c->has_tls)
		return read_tls(c, &byte, 1) == CONN_WAIT;
	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* --- readiness --- */

static void on_conn(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;

	(void)events;
	/* After POLLERR, libuv has stopped the handle; the next read reports the error. */
	if (status < 0)
		c->watched = 0;
	c->drained = false;
	c->events->ready(c->ctx);
}

void conn_watch(struct conn *c, bool read, bool write)
{
	int wanted = (read ? UV_READABLE : 0) | (write ? UV_WRITABLE : 0);

	if (c->fd < 0 || wanted == c->watched)
		return;
	c->watched = wanted;
	if (wanted != 0)
		uv_poll_start(&c->poll, wanted, on_conn);
	else
		uv_poll_stop(&c->poll);
}

/* --- begin and end --- */

static void conn_free(struct conn *c)
{
	free(c->tls_piece);
	free(c);
}

static void poll_closed(uv_handle_t *handle)
{
	conn_free(handle->data);
}

void conn_close(struct conn **cp)
{
	struct conn *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	bool polled = c->fd >= 0;
	bool owned = polled && !c->has_tls;
	if (polled)
		/* must precede closing the socket */
		uv_close((uv_handle_t *)&c->poll, poll_closed);
	dialer_end(&c->attempt);
	if (owned)
		close(c->fd);
	if (!polled)
		conn_free(c);
}

static void set_socket_options(int fd)
{
	int on = 1, low_water = NOT_SENT_LOW_WATER;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_water, sizeof low_water);
}

/* Handles the end of the attempt. */
static void on_dialled(void *ctx, int fd)
{
	struct conn *c = ctx;

	c->has_tls = dialer_has_tls(c->attempt);
	if (fd >= 0 && dialer_is_to_server(c->dialer))
		set_socket_options(fd);
	if (fd >= 0 && uv_poll_init_socket(dialer_loop(c->dialer), &c->poll, fd) == 0) {
		c->poll.data = c;
		c->fd = fd;
		c->events->connected(c->ctx);
		return;
	}
	if (fd >= 0 && !c->has_tls)
		close(fd);
	c->events->failed(c->ctx);
}

struct conn *conn_open(struct dialer *dialer, const struct conn_events *events, void *ctx)
{
	struct conn *c = xcalloc(1, sizeof *c);

	c->dialer = dialer;
	c->events = events;
	c->ctx = ctx;
	c->fd = -1;
	c->attempt = dialer_start(dialer, on_dialled, c);
	return c;
}

void conn_hand_over(struct conn *c, const struct conn_events *events, void *ctx)
{
	c->events = events;
	c->ctx = ctx;
}

/* --- what it says of itself --- */

const char *conn_why(const struct conn *c)
{
	return c->broken_by != 0 ? strerror(c->broken_by) : dialer_why(c->attempt);
}

const char *conn_address(const struct conn *c)
{
	return dialer_address(c->attempt);
}

bool conn_is_proxied(const struct conn *c)
{
	return dialer_is_proxied(c->attempt);
}
