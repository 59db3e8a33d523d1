/* fcgi/server.c - see server.h.
 *
 * An event may end a connection that has another event in the same turn. So connections are closed
 * at once and freed at the end of the turn. */
#include "fcgi/server.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/log_output.h"
#include "common/notify.h"
#include "fcgi/cgi.h"
#include "fcgi/connection.h"
#include "fcgi/event_source.h"
#include "fcgi/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_PER_TURN = 64,
	ROUNDS_PER_TURN = 4,
	ACCEPTS_PER_TURN = 64,
	PARAMETERS_MS = 1000, /* how long to wait for the parameters before a thread takes over */
	BODY_MS = 20,	      /* the same for a small body: Apache sends it after the parameters */
	RETRY_MS = 100,	      /* after a descriptor or room for a connection could not be had */
	DRAIN_IDLE_MS = 200,
	CLOSE_WITHIN_US = 20,
};

struct server {
	int epoll_fd, signal_fd, listen_fd;
	struct event_source accept_due, signal_due;
	struct workers *workers;
	int64_t now_ms;
	struct watchdog watchdog;
	bool accepting; /* listen_fd is in the epoll set */
	bool is_tcp;
	bool stop_requested, draining;
	int64_t stopped_ms;	/* draining */
	int64_t pause_until_ms; /* set after accept() failed; 0: not paused */
	size_t connections_max;
	struct connections all;
	uint8_t scratch[CGI_PEEK_BYTES];
};

/* Returns true at the limit, where idle connections are closed so that new ones can be accepted. */
static bool is_full(const struct server *f)
{
	return f->all.count >= f->connections_max;
}

/* Returns true if a request has arrived although its epoll event has not been handled yet. */
static bool has_request(struct server *f, const struct connection *c)
{
	return cgi_peek(c->cgi, f->scratch) > CGI_IDLE;
}

/* --- what workers report --- */

/* Returns the limit for may_close_after_response(). It doubles with each second of draining: on a
 * slow machine the web server is slow too, and connections in use all the time must end. */
static int64_t close_within_us(const struct server *f)
{
	int64_t drained_s = f->draining ? (f->now_ms - f->stopped_ms) / 1000 : 0;

	return (int64_t)CLOSE_WITHIN_US << (drained_s < 10 ? drained_s : 10);
}

/* Decides when to close a kept connection. A web server checks whether one is open, and then sends
 * its request; closing it in between would lose that request. So it is closed so soon after a
 * response that the web server cannot have made that check yet, or not at all now. */
static bool may_close_after_response(struct server *f, struct connection *c)
{
	return (f->draining || (is_full(f) && connections_closable(&f->all, f->now_ms) == NULL)) &&
	       !has_request(f, c) && cgi_since_sent_us(c->cgi) <= close_within_us(f);
}

static void keep(struct server *f, struct connection *c)
{
	bool close = may_close_after_response(f, c);

	if (close && !cgi_awaits_rest(c->cgi)) {
		connection_kill(&f->all, c);
		return;
	}
	if (close)
		cgi_refuse_more(c->cgi);
	connection_move(&f->all, c, close ? LINGERING : IDLE);
	/* Input that arrived meanwhile raised an event, if it was watched for. */
	if (close || c->has_input || c->watched != CONNECTION_INPUT)
		connection_mark_pending(&f->all, c);
}

static void on_done(void *ctx, struct connection *c, enum cgi_end end)
{
	struct server *f = ctx;

	c->since_ms = f->now_ms;
	switch (end) {
	case CGI_CLOSED:
		connection_kill(&f->all, c);
		break;
	case CGI_KEPT:
		keep(f, c);
		break;
	case CGI_CUT_LATER:
		connection_move(&f->all, c, CUTTING);
		break;
	case CGI_LINGERS:
		connection_move(&f->all, c, LINGERING);
		connection_mark_pending(&f->all, c);
		break;
	}
}

static void on_blocked(void *ctx, struct connection *c)
{
	struct server *f = ctx;

	connection_watch(&f->all, c, CONNECTION_INPUT | EPOLLOUT);
}

/* --- requests --- */

/* Serves the connection's request. Returns false if no slot is free. */
static bool serve(struct server *f, struct connection *c, bool whole)
{
	struct slot *s = workers_reserve(f->workers, f->now_ms);

	if (s == NULL)
		return false;
	connection_move(&f->all, c, SERVED);
	workers_start(f->workers, s, c, whole);
	return true;
}

static void serve_or_queue(struct server *f, struct connection *c, bool whole)
{
	if (c->state != READING)
		c->arrived_ms = f->now_ms;
	if (TAILQ_EMPTY(&f->all.in[QUEUED]) && serve(f, c, whole))
		return;
	c->whole = whole;
	connection_move(&f->all, c, QUEUED);
}

static void await_rest(struct server *f, struct connection *c, int64_t read_timeout_ms)
{
	if (c->state != READING) {
		c->since_ms = c->arrived_ms = f->now_ms;
		connection_move(&f->all, c, READING);
	}
	c->read_timeout_ms = read_timeout_ms;
	connection_watch(&f->all, c, CONNECTION_INPUT);
}

/* No request has begun to arrive; what looked like one may have been the rest of the last one. */
static void await_request(struct server *f, struct connection *c)
{
	if (c->state != IDLE) {
		c->since_ms = f->now_ms;
		connection_move(&f->all, c, IDLE);
	}
	connection_watch(&f->all, c, CONNECTION_INPUT);
}

static void examine(struct server *f, struct connection *c)
{
	c->has_input = false;
	if (c->state == LINGERING) {
		if (cgi_linger(c->cgi)) /* input may remain: not edge-triggered */
			connection_watch(&f->all, c, EPOLLIN | EPOLLRDHUP);
		else
			connection_kill(&f->all, c);
		return;
	}
	switch (cgi_peek(c->cgi, f->scratch)) {
	case CGI_DISCONNECTED:
		connection_kill(&f->all, c);
		break;
	case CGI_OLD:
		connection_mark_pending(&f->all, c);
		await_request(f, c);
		break;
	case CGI_IDLE:
		await_request(f, c);
		break;
	case CGI_INCOMPLETE:
		await_rest(f, c, PARAMETERS_MS);
		break;
	case CGI_PARAMETERS:
		await_rest(f, c, BODY_MS);
		break;
	case CGI_WHOLE:
		serve_or_queue(f, c, true);
		break;
	case CGI_LONG:
		serve_or_queue(f, c, false);
		break;
	}
}

static void on_connection(void *ctx, struct event_source *self, uint32_t events)
{
	struct server *f = ctx;
	struct connection *c = connection_of(self);

	c->has_input = true;
	if (c->state == IDLE || c->state == READING || c->state == LINGERING)
		connection_mark_pending(&f->all, c);
	else if (c->state == SERVED && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		workers_writable(f->workers, c);
}

/* --- the listening socket --- */

static void update_listening(struct server *f)
{
	bool may = f->listen_fd >= 0 && !f->draining && f->pause_until_ms == 0 &&
		   !workers_lack_descriptors(f->workers) && TAILQ_EMPTY(&f->all.in[QUEUED]) &&
		   (!is_full(f) || connections_closable(&f->all, f->now_ms) != NULL);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &f->accept_due};

	if (may == f->accepting)
		return;
	CHECK(epoll_ctl(f->epoll_fd, may ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, f->listen_fd, &event) ==
	      0);
	f->accepting = may;
}

/* Accepts one connection. Returns false if there is none, or no room for it. */
static bool accept_connection(struct server *f)
{
	struct connection *old = is_full(f) ? connections_closable(&f->all, f->now_ms) : NULL;
	int on = 1;

	if (is_full(f) && old == NULL)
		return false;
	if (old != NULL && old->state == IDLE && has_request(f, old))
		return false;
	int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		/* EINVAL: the socket was shut down. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && errno != EINVAL)
			f->pause_until_ms = f->now_ms + RETRY_MS;
		return false;
	}
	if (old != NULL)
		connection_kill(&f->all, old);
	if (f->is_tcp)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	connection_mark_pending(&f->all, connection_new(&f->all, cgi_new(fd), f->now_ms));
	return true;
}

/* Returns true if there may be more. */
static bool accept_connections(struct server *f)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		if (!accept_connection(f))
			return false;
	}
	return true;
}

/* --- turns --- */

static int64_t linger_ms(const struct server *f)
{
	return f->draining ? CGI_LINGER_MIN_MS : CGI_LINGER_MAX_MS;
}

/* Handles time-outs. If parameters or body are late, a thread waits for the rest. */
static void handle_timeouts(struct server *f)
{
	struct connection *c, *next;

	connections_expire(&f->all, f->now_ms, linger_ms(f));
	for (c = TAILQ_FIRST(&f->all.in[READING]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (f->now_ms - c->since_ms >= c->read_timeout_ms && !c->pending)
			serve_or_queue(f, c, false);
	}
}

/* Examines the connections that are pending now; this may make others pending. */
static void examine_pending(struct server *f)
{
	const struct connection *last = TAILQ_LAST(&f->all.pending, connection_list);
	struct connection *c = NULL;

	while (c != last) {
		c = TAILQ_FIRST(&f->all.pending);
		connection_unmark_pending(&f->all, c);
		examine(f, c);
	}
}

/* Handles the input of this turn and what follows from it. The rounds are limited so that other
 * event sources get their turn. */
static void process(struct server *f)
{
	struct connection *c;

	for (int i = 0; i == 0 || (i < ROUNDS_PER_TURN && !TAILQ_EMPTY(&f->all.pending)); i++) {
		examine_pending(f);
		workers_work(f->workers, f->now_ms);
		while ((c = TAILQ_FIRST(&f->all.in[QUEUED])) != NULL && serve(f, c, c->whole))
			;
	}
	handle_timeouts(f);
	update_listening(f);
	connections_free_dead(&f->all);
}

/* Returns the earlier of the two; -1: never. */
static int earlier_ms(const struct server *f, int max_ms, int64_t due_ms)
{
	int64_t left_ms = due_ms > f->now_ms ? due_ms - f->now_ms : 0;

	return max_ms < 0 || left_ms < max_ms ? (int)left_ms : max_ms;
}

static int timeout_ms(const struct server *f)
{
	int max_ms = workers_timeout_ms(f->workers);
	const struct connection *c;

	if (!TAILQ_EMPTY(&f->all.pending))
		return 0;
	TAILQ_FOREACH (c, &f->all.in[READING], link)
		max_ms = earlier_ms(f, max_ms, c->since_ms + c->read_timeout_ms);
	int64_t due_ms = connections_due_ms(&f->all, f->now_ms, linger_ms(f));
	if (due_ms >= 0)
		max_ms = earlier_ms(f, max_ms, due_ms);
	if (f->pause_until_ms != 0 || f->draining || !TAILQ_EMPTY(&f->all.in[QUEUED]) ||
	    (f->listen_fd >= 0 && !f->accepting))
		max_ms = earlier_ms(f, max_ms, f->now_ms + RETRY_MS);
	return max_ms;
}

static void on_signal(void *ctx, struct event_source *self, uint32_t events)
{
	struct server *f = ctx;
	struct signalfd_siginfo info;

	(void)self;
	(void)events;
	while (read(f->signal_fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGUSR1)
			workers_dump(f->workers, f->now_ms);
		else
			f->stop_requested = true;
	}
}

static void on_acceptable(void *ctx, struct event_source *self, uint32_t events)
{
	(void)self;
	(void)events;
	(void)accept_connections(ctx);
}

static void turn(struct server *f)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int max_ms = timeout_ms(f);

	if (f->watchdog.every_ms != 0)
		max_ms = earlier_ms(f, max_ms, f->watchdog.due_ms);
	if (!log_output_flush())
		max_ms = earlier_ms(f, max_ms, f->now_ms + RETRY_MS);
	int count = epoll_wait(f->epoll_fd, events, EVENTS_PER_TURN, max_ms);

	f->now_ms = clock_now_ms();
	watchdog_tell(&f->watchdog, f->now_ms);
	if (f->now_ms >= f->pause_until_ms)
		f->pause_until_ms = 0;
	for (int i = 0; i < count; i++) {
		struct event_source *source = events[i].data.ptr;
		source->on_event(source->ctx, source, events[i].events);
	}
	process(f);
}

void server_run(struct server *f, int listen_fd)
{
	struct sockaddr_storage address = {0};
	socklen_t bytes = sizeof address;

	CHECK(fcntl(listen_fd, F_SETFL, fcntl(listen_fd, F_GETFL) | O_NONBLOCK) == 0);
	f->is_tcp = getsockname(listen_fd, (struct sockaddr *)&address, &bytes) == 0 &&
		    address.ss_family != AF_UNIX;
	f->listen_fd = listen_fd;
	f->now_ms = clock_now_ms();
	watchdog_init(&f->watchdog, f->now_ms);
	update_listening(f);
	log_output_gather();
	while (!f->stop_requested)
		turn(f);
}

/* --- the end --- */

void server_accept_waiting(struct server *f)
{
	while (accept_connections(f))
		;
}

/* Closes idle connections while draining. A connection that the web server keeps may be about to
 * receive a request: it is closed once that has become unlikely. One with half a request is waited
 * for: see cgi_accept(). */
static void close_idle(struct server *f)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&f->all.in[IDLE]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		int64_t since_ms = c->since_ms > f->stopped_ms ? c->since_ms : f->stopped_ms;
		if (connection_is_unused(c, f->now_ms - since_ms, DRAIN_IDLE_MS) &&
		    !has_request(f, c))
			connection_kill(&f->all, c);
	}
}

bool server_drain(struct server *f, int64_t max_ms)
{
	f->stopped_ms = f->now_ms = clock_now_ms();
	f->draining = true;
	update_listening(f);
	while (f->all.count > 0 && f->now_ms - f->stopped_ms < max_ms) {
		turn(f);
		close_idle(f);
	}
	return f->all.count == 0 ? workers_stop(f->workers) : workers_end_all(f->workers);
}

void server_serve_plain(struct server *f)
{
	f->now_ms = clock_now_ms();
	workers_set_plain(f->workers);
	CHECK(serve(f, connection_new(&f->all, cgi_new_plain(), f->now_ms), false));
	while (f->all.count > 0)
		turn(f);
	CHECK(workers_stop(f->workers)); /* its thread is idle */
}

/* --- start --- */

static void watch(struct server *f, int fd, struct event_source *source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	CHECK(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static bool start_workers(struct server *f, const struct server_settings *s, char *why,
			  size_t why_bytes)
{
	const struct workers_settings settings = {
		.gate = s->gate,
		.slots = s->slots,
		.max_body_bytes = s->max_body_bytes,
		.epoll_fd = f->epoll_fd,
	};
	const struct workers_events events = {f, on_done, on_blocked};

	f->workers = workers_new(&settings, &events, why, why_bytes);
	return f->workers != NULL;
}

struct server *server_new(const struct server_settings *s, char *why, size_t why_bytes)
{
	struct server *f = xcalloc(1, sizeof *f);
	const struct event_source connection = {on_connection, f};

	f->connections_max = s->connections;
	f->listen_fd = -1;
	f->signal_fd = s->signal_fd;
	f->accept_due = (struct event_source){on_acceptable, f};
	f->signal_due = (struct event_source){on_signal, f};
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(f->epoll_fd >= 0);
	connections_init(&f->all, f->epoll_fd, &connection);
	if (!start_workers(f, s, why, why_bytes)) {
		server_destroy(&f);
		return NULL;
	}
	if (f->signal_fd >= 0)
		watch(f, f->signal_fd, &f->signal_due);
	return f;
}

void server_destroy(struct server **fp)
{
	struct server *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	workers_destroy(&f->workers);
	connections_fini(&f->all);
	close(f->epoll_fd);
	free(f);
}
