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

static ssize_t broken(struct conn *w, int by)
{
	if (w->broken_by == 0)
		w->broken_by = by;
	return CONN_BROKEN;
}

static ssize_t read_tls(struct conn *w, void *out, size_t bytes)
{
	size_t got = 0;

	switch (dialer_receive(w->attempt, out, bytes, &got)) {
	case DIALER_WAIT:
		return CONN_WAIT;
	case DIALER_BROKEN:
		return broken(w, dialer_error(w->attempt));
	default:
		return got > 0 ? (ssize_t)got : CONN_END;
	}
}

ssize_t conn_read(struct conn *w, void *out, size_t bytes)
{
	ssize_t got;

	if (w->has_tls)
		return read_tls(w, out, bytes);
	if (w->drained)
		return CONN_WAIT;
	do {
		got = recv(w->fd, out, bytes, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	w->drained = got != 0 && got < (ssize_t)bytes;
	if (got > 0)
		return got;
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_WAIT : broken(w, errno);
	return w->reset ? CONN_BROKEN : CONN_END;
}

/* OpenSSL requires a retry to pass the same bytes at the same address. */
static ssize_t write_tls(struct conn *w, const void *data, size_t bytes)
{
	size_t sent = 0;

	if (w->tls_piece == NULL)
		w->tls_piece = xmalloc(TLS_PIECE_BYTES);
	if (w->tls_bytes == 0) {
		w->tls_bytes = bytes < TLS_PIECE_BYTES ? bytes : TLS_PIECE_BYTES;
		memcpy(w->tls_piece, data, w->tls_bytes);
	}
	enum dialer_result result = dialer_send(w->attempt, w->tls_piece, w->tls_bytes, &sent);
	if (result == DIALER_WAIT)
		return CONN_WAIT;
	w->tls_bytes = 0;
	return result == DIALER_OK ? (ssize_t)sent : broken(w, dialer_error(w->attempt));
}

ssize_t conn_write(struct conn *w, const void *data, size_t bytes)
{
	ssize_t sent;

	if (w->has_tls)
		return write_tls(w, data, bytes);
	do {
		sent = send(w->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return CONN_WAIT;
	/* The kernel reports a pending socket error only once. EPIPE follows the app's regular end,
	 * or an earlier error. */
	w->reset = w->reset || errno != EPIPE;
	w->drained = false;
	return broken(w, errno);
}

bool conn_end_writing(struct conn *w)
{
	/* TLS would need a close_notify, which libcurl cannot send. */
	return !w->has_tls && shutdown(w->fd, SHUT_WR) == 0;
}

bool conn_is_quiet(struct conn *w)
{
	char byte;

	/* libcurl or OpenSSL may hold bytes; a session ticket does not come from the app. */
	if (w->has_tls)
		return read_tls(w, &byte, 1) == CONN_WAIT;
	return recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* --- readiness --- */

static void on_conn(uv_poll_t *poll, int status, int events)
{
	struct conn *w = poll->data;

	(void)events;
	/* After POLLERR, libuv has stopped the handle; the next read reports the error. */
	if (status < 0)
		w->watched = 0;
	w->drained = false;
	w->events->ready(w->ctx);
}

void conn_watch(struct conn *w, bool read, bool write)
{
	int wanted = (read ? UV_READABLE : 0) | (write ? UV_WRITABLE : 0);

	if (w->fd < 0 || wanted == w->watched)
		return;
	w->watched = wanted;
	if (wanted != 0)
		uv_poll_start(&w->poll, wanted, on_conn);
	else
		uv_poll_stop(&w->poll);
}

/* --- begin and end --- */

static void conn_free(struct conn *w)
{
	free(w->tls_piece);
	free(w);
}

static void poll_closed(uv_handle_t *handle)
{
	conn_free(handle->data);
}

void conn_close(struct conn **wp)
{
	struct conn *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	bool polled = w->fd >= 0;
	bool owned = polled && !w->has_tls;
	if (polled)
		/* must precede closing the socket */
		uv_close((uv_handle_t *)&w->poll, poll_closed);
	dialer_end(&w->attempt);
	if (owned)
		close(w->fd);
	if (!polled)
		conn_free(w);
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
	struct conn *w = ctx;

	w->has_tls = dialer_has_tls(w->attempt);
	if (fd >= 0 && dialer_is_to_server(w->dialer))
		set_socket_options(fd);
	if (fd >= 0 && uv_poll_init_socket(dialer_loop(w->dialer), &w->poll, fd) == 0) {
		w->poll.data = w;
		w->fd = fd;
		w->events->connected(w->ctx);
		return;
	}
	if (fd >= 0 && !w->has_tls)
		close(fd);
	w->events->failed(w->ctx);
}

struct conn *conn_open(struct dialer *dialer, const struct conn_events *events, void *ctx)
{
	struct conn *w = xcalloc(1, sizeof *w);

	w->dialer = dialer;
	w->events = events;
	w->ctx = ctx;
	w->fd = -1;
	w->attempt = dialer_start(dialer, on_dialled, w);
	return w;
}

void conn_hand_over(struct conn *w, const struct conn_events *events, void *ctx)
{
	w->events = events;
	w->ctx = ctx;
}

/* --- what it says of itself --- */

const char *conn_why(const struct conn *w)
{
	return w->broken_by != 0 ? strerror(w->broken_by) : dialer_why(w->attempt);
}

const char *conn_address(const struct conn *w)
{
	return dialer_address(w->attempt);
}

bool conn_is_proxied(const struct conn *w)
{
	return dialer_is_proxied(w->attempt);
}
