/* broker/listener.c - see listener.h. */
#include "broker/listener.h"

#include "common/endpoint.h"
#include "common/id.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 511,
	ACCEPTS_PER_TURN = 64,
	/* How long the peer has to read the response before its connection is closed. */
	LINGER_MS = 2000,
	/* Descriptors that accept() leaves free, for the gate, the log and the admin endpoint. */
	RESERVED_DESCRIPTORS = 64,
};

/* An accepted connection whose request has not been handed over or refused yet. */
struct pending {
	TAILQ_ENTRY(pending) link;
	uv_poll_t poll;
	struct listener *listener;
	int fd;
	uint64_t deadline_ms;
	/* The response was sent; the peer must close. */
	bool responded;
	void (*hand_over)(void *ctx, int fd, void *hand_over_state);
	void *hand_over_state;
	char *head; /* LISTENER_REQUEST_MAX_BYTES; NULL: nothing was received */
	size_t head_bytes;
};

struct listener {
	uv_loop_t *loop;
	struct endpoint endpoint;
	uv_poll_t poll;
	bool paused, stopped;
	bool poll_closed; /* by libuv: the memory may be freed */
	listener_fn handler;
	void *ctx;
	TAILQ_HEAD(, pending) pending; /* oldest first */
	size_t count;
	int descriptor_bound;
};

/* --- pending connections --- */

static void on_pending_closed(uv_handle_t *handle)
{
	struct pending *p = handle->data;

	if (p->hand_over != NULL)
		p->hand_over(p->listener->ctx, p->fd, p->hand_over_state);
	else
		close(p->fd);
	free(p->head);
	free(p);
}

static void pending_end(struct pending *p)
{
	struct listener *l = p->listener;

	TAILQ_REMOVE(&l->pending, p, link);
	l->count--;
	uv_poll_stop(&p->poll);
	uv_close((uv_handle_t *)&p->poll, on_pending_closed);
}

static void respond(struct pending *p, struct listener_response *response)
{
	/* A response fits any empty socket buffer. A peer that has filled it loses the rest. */
	(void)!send(p->fd, buf_first(&response->whole), buf_bytes(&response->whole),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_fini(&response->whole);
	shutdown(p->fd, SHUT_WR);
	p->responded = true;
	p->deadline_ms = uv_now(p->listener->loop) + LINGER_MS;
}

void listener_reply_to_init(struct listener_reply_to *out, const struct listener_request *r)
{
	struct listener_text accept = listener_request_find(r, "accept");
	uint8_t corr[CORR_BYTES];

	id_random(corr, sizeof corr);
	id_to_hex(corr, sizeof corr, out->corr_hex);
	out->accept = strndup(accept.at, accept.bytes);
	CHECK(out->accept != NULL);
	out->to = (struct local_reply_to){"HTTP/1.1", out->corr_hex, out->accept,
					  strcmp(r->method, "HEAD") == 0};
}

void listener_reply_to_fini(struct listener_reply_to *reply_to)
{
	free(reply_to->accept);
}

static void refuse(struct pending *p, const struct listener_request *r, int status)
{
	struct listener_reply_to reply_to;
	struct listener_response response = {0};

	listener_reply_to_init(&reply_to, r);
	local_reply_bad_request(&response.whole, &reply_to.to, status, "");
	listener_reply_to_fini(&reply_to);
	respond(p, &response);
}

static void handle_head(struct pending *p)
{
	struct listener *l = p->listener;
	struct listener_response response = {0};
	struct listener_request request;
	int status = listener_request_parse(&request, p->head, p->head_bytes);

	if (status != 0) {
		refuse(p, &request, status);
		return;
	}
	l->handler(l->ctx, &request, &response);
	if (response.hand_over != NULL) {
		p->hand_over = response.hand_over;
		p->hand_over_state = response.hand_over_state;
		pending_end(p);
	} else {
		respond(p, &response);
	}
}

static void discard_input(struct pending *p)
{
	char trash[4096];

	if (recv(p->fd, trash, sizeof trash, MSG_DONTWAIT) == 0)
		pending_end(p);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct pending *p = poll->data;

	(void)events;
	if (status < 0) {
		pending_end(p);
		return;
	}
	if (p->responded) {
		discard_input(p);
		return;
	}
	if (p->head == NULL)
		p->head = xmalloc(LISTENER_REQUEST_MAX_BYTES);
	ssize_t got = recv(p->fd, p->head + p->head_bytes,
			   LISTENER_REQUEST_MAX_BYTES - p->head_bytes, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		pending_end(p);
		return;
	}
	/* Search new bytes only, because a head may arrive byte by byte. A terminator may begin in
	 * the last 3 bytes of the old ones. */
	size_t from = p->head_bytes < 3 ? 0 : p->head_bytes - 3;
	p->head_bytes += (size_t)got;
	if (p->head_bytes == LISTENER_REQUEST_MAX_BYTES ||
	    memmem(p->head + from, p->head_bytes - from, "\r\n\r\n", 4) != NULL)
		handle_head(p);
}

/* --- the listening socket --- */

static void add_pending(struct listener *l, int fd)
{
	if (fd >= l->descriptor_bound) {
		log_seldom_warn("listener.no_descriptors connections=%zu", l->count);
		close(fd);
		return;
	}
	if (l->count >= LISTENER_PENDING_MAX) {
		log_seldom_warn("listener.too_many_pending connections=%zu", l->count);
		pending_end(TAILQ_FIRST(&l->pending));
	}
	struct pending *p = xcalloc(1, sizeof *p);
	p->listener = l;
	p->fd = fd;
	p->deadline_ms = uv_now(l->loop) + LISTENER_HEAD_MS;
	if (uv_poll_init(l->loop, &p->poll, fd) != 0) {
		close(fd);
		free(p);
		return;
	}
	p->poll.data = p;
	TAILQ_INSERT_TAIL(&l->pending, p, link);
	l->count++;
	uv_poll_start(&p->poll, UV_READABLE, on_readable);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(l->endpoint.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			add_pending(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* Wait for the next tick: the socket stays readable, so the loop would
			 * spin. */
			log_seldom_warn("listener.no_descriptors connections=%zu", l->count);
			uv_poll_stop(&l->poll);
			l->paused = true;
		}
		break;
	}
}

bool listener_is_waiting(const struct listener *l)
{
	return l->count > 0 || l->paused;
}

void listener_tick(struct listener *l)
{
	struct pending *p, *next;

	if (l->stopped)
		return;
	for (p = TAILQ_FIRST(&l->pending); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->deadline_ms > uv_now(l->loop))
			continue;
		if (!p->responded)
			log_seldom_warn("listener.no_request_in_time connections=%zu", l->count);
		pending_end(p);
	}
	if (l->paused) {
		l->paused = false;
		uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
	}
}

static int descriptor_bound(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1 << 20)
		return 1 << 20;
	return (int)limit.rlim_cur - RESERVED_DESCRIPTORS;
}

struct listener *listener_new(uv_loop_t *loop, const char *spec, const char *setting_name,
			      const char *socket_group, listener_fn handler, void *ctx)
{
	struct listener *l = xcalloc(1, sizeof *l);

	l->loop = loop;
	l->handler = handler;
	l->ctx = ctx;
	l->descriptor_bound = descriptor_bound();
	TAILQ_INIT(&l->pending);
	if (!endpoint_open(&l->endpoint, spec, setting_name, socket_group, BACKLOG)) {
		free(l);
		return NULL;
	}
	CHECK(uv_poll_init(loop, &l->poll, l->endpoint.fd) == 0);
	l->poll.data = l;
	uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
	return l;
}

const char *listener_address(const struct listener *l)
{
	return l->endpoint.shown;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	l->poll_closed = true;
}

void listener_stop(struct listener *l)
{
	if (l == NULL || l->stopped)
		return;
	l->stopped = true;
	while (!TAILQ_EMPTY(&l->pending))
		pending_end(TAILQ_FIRST(&l->pending));
	uv_close((uv_handle_t *)&l->poll, on_handle_closed);
	endpoint_close(&l->endpoint);
}

void listener_destroy(struct listener **lp)
{
	struct listener *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	CHECK(l->stopped && l->poll_closed);
	free(l);
}

size_t listener_pending_count(const struct listener *l)
{
	return l->count;
}
