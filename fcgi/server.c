/* fcgi/server.c - see server.h.
 *
 * Callbacks of the mux and events of connections may end a connection of which another event is still to come
 * in the same turn: so connections die at once and are freed at the turn's end. */
#include "fcgi/server.h"

#include "common/clock.h"
#include "common/log.h"
#include "fcgi/ask.h"
#include "fcgi/cgi.h"
#include "fcgi/connection.h"
#include "fcgi/mux.h"
#include "fcgi/threads.h"
#include "fcgi/relay.h"
#include "fcgi/quota.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_PER_TURN = 64,
	ROUNDS_PER_TURN = 4,
	ACCEPTS_PER_TURN = 64,
	PARAMETERS_MS = 1000, /* so long they may take to come; then a thread reads them */
	BODY_MS = 20,	      /* likewise a small body: Apache sends it behind the parameters */
	RETRY_MS = 100, /* after a descriptor, a thread or room for a connection could not be had */
	SPARE_ASKS = 128, /* sockets kept for slots that are free */
	LAST_IDLE_MS = 1000,
	DRAINED_IDLE_MS = 200,
	SOON_US = 20,
	HURRY_MS = 1000,
};

struct slot {
	struct job job;
	struct server *server;
	uint16_t number;
	struct ask *ask; /* NULL: not made, or given back */
	struct connection *connection;
	struct relay *relay;
	enum relay_state state;
	bool begun;		 /* relay_start() was called */
	bool in_thread;		 /* then a thread owns all but this and `connection` */
	STAILQ_ENTRY(slot) link; /* server->free, or server->unthreaded */
	STAILQ_ENTRY(slot) done_link;
};

STAILQ_HEAD(slots, slot);

struct server {
	int epoll_fd, wake_fd, stop_fd, listen_fd;
	struct mux *mux;
	struct threads *threads;
	struct quota *quota;
	int64_t max_body_bytes;
	int64_t now_ms;
	bool accepting; /* listen_fd is in the epoll set */
	bool is_tcp;
	bool told_to_stop, draining, plain;
	int64_t pause_until_ms; /* after accept() failed; 0: not */
	int64_t threads_due_ms; /* when one is asked for again */

	size_t connections_max;
	size_t slot_count, busy, asks;
	struct slot *slots;
	struct slots
		free; /* those with an ask first, and the last used one of them: its memory is warm */
	struct slots unthreaded; /* these want a thread, and none could be had */

	struct connections all;
	uint8_t scratch[CGI_LOOK_BYTES];

	pthread_mutex_t lock; /* guards what follows */
	struct slots done;    /* back from their threads */
};

/* --- slots --- */

/* As many connections as there may be: others may be waiting at the door, so none is kept that is not in use. */
static bool is_full(const struct server *f)
{
	return f->all.count >= f->connections_max;
}

static struct slot *take_slot(struct server *f)
{
	struct slot *s = STAILQ_FIRST(&f->free);

	if (s == NULL || (s->ask == NULL && f->pause_until_ms != 0))
		return NULL;
	if (s->ask == NULL) {
		s->ask = ask_new(f->mux, s->number);
		if (s->ask == NULL) {
			f->pause_until_ms = f->now_ms + RETRY_MS;
			return NULL;
		}
		f->asks++;
	}
	STAILQ_REMOVE_HEAD(&f->free, link);
	f->busy++;
	return s;
}

static void release(struct server *f, struct slot *s)
{
	f->busy--;
	if (f->asks - f->busy <= SPARE_ASKS) {
		STAILQ_INSERT_HEAD(&f->free, s, link);
		return;
	}
	ask_destroy(&s->ask);
	f->asks--;
	STAILQ_INSERT_TAIL(&f->free, s, link); /* behind those that have a socket */
}

static void give_to_thread(struct server *f, struct slot *s)
{
	s->in_thread = true;
	if (threads_run(f->threads, &s->job))
		return;
	s->in_thread = false;
	f->threads_due_ms = f->now_ms + RETRY_MS;
	STAILQ_INSERT_TAIL(&f->unthreaded, s, link);
}

/* It has come in this moment, and its event is still to be heard. */
static bool has_request(struct server *f, const struct connection *c)
{
	return cgi_look(c->cgi, f->scratch) > CGI_IDLE;
}

/* A web server that keeps connections looks whether one is open, and then sends its request. To close it in between
 * would cost that request: it is closed so soon behind an answer that the web server cannot have come to looking, or not
 * at all now. */
static bool may_close_behind(struct server *f, struct connection *c)
{
	return !has_request(f, c) && cgi_sent_ago_us(c->cgi) <= SOON_US;
}

/* The answer is out. */
static void done(struct server *f, struct slot *s)
{
	struct connection *c = s->connection;
	enum cgi_end end = relay_end(s->relay);

	relay_destroy(&s->relay);
	s->connection = NULL;
	c->slot = NULL;
	release(f, s);
	if (end == CGI_CLOSED ||
	    (end == CGI_KEPT && (f->draining || is_full(f)) && may_close_behind(f, c))) {
		connection_kill(&f->all, c);
		return;
	}
	c->since_ms = f->now_ms;
	if (end == CGI_TO_CUT) {
		connection_move(&f->all, c, CUTTING);
		return;
	}
	connection_move(&f->all, c, end == CGI_KEPT ? IDLE : LINGERING);
	/* What came in the meantime raised no event that we heard. */
	connection_refresh(&f->all, c);
}

static void drive(struct server *f, struct slot *s)
{
	switch (s->state) {
	case RELAY_ASK:
		ask_send(s->ask, relay_message(s->relay));
		break;
	case RELAY_BODY:
		give_to_thread(f, s);
		break;
	case RELAY_STUCK:
		connection_watch(&f->all, s->connection, NEWS | EPOLLOUT);
		break;
	case RELAY_OVER:
		done(f, s);
		break;
	}
}

static void on_reply(void *ctx, uint16_t seat)
{
	struct server *f = ctx;
	struct slot *s = &f->slots[seat];
	struct gate_msg reply;

	if (s->in_thread)
		return; /* it is waiting in ask_call() */
	ask_receive(s->ask, &reply);
	s->state = relay_take(s->relay, &reply, false);
	drive(f, s);
}

/* In a thread: what may block, until the request body is through. Plain CGI: all of it, as writing the answer may
 * block too. */
static void work(struct job *job)
{
	struct slot *s = (struct slot *)((char *)job - offsetof(struct slot, job));
	struct server *f = s->server;
	uint64_t one = 1;

	if (s->begun)
		s->state = relay_go_on(s->relay, true);
	else
		s->state = relay_start(s->relay, true);
	while (s->state == RELAY_ASK && (f->plain || relay_is_uploading(s->relay))) {
		struct gate_msg reply;
		ask_call(s->ask, relay_message(s->relay), &reply);
		s->state = relay_take(s->relay, &reply, true);
	}
	pthread_mutex_lock(&f->lock);
	STAILQ_INSERT_TAIL(&f->done, s, done_link);
	pthread_mutex_unlock(&f->lock);
	(void)!write(f->wake_fd, &one, sizeof one);
}

static void take_back(struct server *f)
{
	struct slots back = STAILQ_HEAD_INITIALIZER(back);
	struct slot *s;
	uint64_t count;

	(void)!read(f->wake_fd, &count, sizeof count);
	pthread_mutex_lock(&f->lock);
	STAILQ_CONCAT(&back, &f->done);
	pthread_mutex_unlock(&f->lock);
	while ((s = STAILQ_FIRST(&back)) != NULL) {
		STAILQ_REMOVE_HEAD(&back, done_link);
		s->in_thread = false;
		s->begun = true;
		drive(f, s);
	}
}

/* --- requests --- */

/* False: no slot is free. */
static bool serve(struct server *f, struct connection *c, bool whole)
{
	struct slot *s = take_slot(f);

	if (s == NULL)
		return false;
	connection_move(&f->all, c, SERVED);
	c->slot = s;
	s->connection = c;
	s->relay = relay_new(c->cgi, f->quota, f->max_body_bytes);
	s->begun = whole;
	if (whole) {
		s->state = relay_start(s->relay, false);
		drive(f, s);
	} else {
		give_to_thread(f, s);
	}
	return true;
}

static void serve_or_queue(struct server *f, struct connection *c, bool whole)
{
	if (TAILQ_EMPTY(&f->all.in[QUEUED]) && serve(f, c, whole))
		return;
	c->whole = whole;
	connection_move(&f->all, c, QUEUED);
}

static void read_on(struct server *f, struct connection *c, int64_t patience_ms)
{
	if (c->state != READING) {
		c->since_ms = f->now_ms;
		connection_move(&f->all, c, READING);
	}
	c->patience_ms = patience_ms;
	connection_watch(&f->all, c, NEWS);
}

static void look(struct server *f, struct connection *c)
{
	if (c->state == LINGERING) {
		if (cgi_linger(c->cgi)) /* it may have left some: not edge-triggered */
			connection_watch(&f->all, c, EPOLLIN | EPOLLRDHUP);
		else
			connection_kill(&f->all, c);
		return;
	}
	switch (cgi_look(c->cgi, f->scratch)) {
	case CGI_GONE:
		connection_kill(&f->all, c);
		break;
	case CGI_IDLE:
		connection_watch(&f->all, c, NEWS);
		break;
	case CGI_PART:
		read_on(f, c, PARAMETERS_MS);
		break;
	case CGI_PARAMETERS:
		read_on(f, c, BODY_MS);
		break;
	case CGI_WHOLE:
		serve_or_queue(f, c, true);
		break;
	case CGI_LONG:
		serve_or_queue(f, c, false);
		break;
	}
}

static void on_connection(struct server *f, struct connection *c, uint32_t events)
{
	struct slot *s = c->slot;

	if (c->state == IDLE || c->state == READING || c->state == LINGERING) {
		connection_refresh(&f->all, c);
	} else if (c->state == SERVED && !s->in_thread && s->state == RELAY_STUCK &&
		   (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		s->state = relay_go_on(s->relay, false);
		drive(f, s);
	}
}

/* --- the listening socket --- */

/* One that can be closed for another to come: the web server has had time to read its answer, or it has been idle for
 * longest. Not one that is new, or was in use just now: a request may be on its way. */
static struct connection *spare(const struct server *f)
{
	struct connection *c = TAILQ_FIRST(&f->all.in[LINGERING]);

	if (c != NULL && f->now_ms - c->since_ms >= CGI_LINGER_LEAST_MS)
		return c;
	c = TAILQ_FIRST(&f->all.in[IDLE]);
	return c != NULL && f->now_ms - c->since_ms >= LAST_IDLE_MS ? c : NULL;
}

static void listen_or_not(struct server *f)
{
	bool may = f->listen_fd >= 0 && !f->draining && f->pause_until_ms == 0 &&
		   TAILQ_EMPTY(&f->all.in[QUEUED]) && (!is_full(f) || spare(f) != NULL);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &f->listen_fd};

	if (may == f->accepting)
		return;
	CHECK(epoll_ctl(f->epoll_fd, may ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, f->listen_fd, &event) ==
	      0);
	f->accepting = may;
}

/* False: there is none, or no room for it. */
static bool take_connection(struct server *f)
{
	struct connection *old = is_full(f) ? spare(f) : NULL;
	int on = 1;

	if (is_full(f) && old == NULL)
		return false;
	if (old != NULL && old->state == IDLE && has_request(f, old))
		return false;
	int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		/* EINVAL: it was shut down. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && errno != EINVAL)
			f->pause_until_ms = f->now_ms + RETRY_MS;
		return false;
	}
	if (old != NULL)
		connection_kill(&f->all, old);
	if (f->is_tcp)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	connection_refresh(&f->all, connection_new(&f->all, cgi_new(fd), f->now_ms));
	return true;
}

/* True: there may be more. */
static bool take_connections(struct server *f)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		if (!take_connection(f))
			return false;
	}
	return true;
}

/* --- turns --- */

static bool is_time_to_cut(const struct server *f, const struct connection *c)
{
	int64_t waited_ms = f->now_ms - c->since_ms;

	return waited_ms >= CGI_CUT_MOST_MS ||
	       (waited_ms >= CGI_CUT_LEAST_MS && cgi_may_cut(c->cgi));
}

static int64_t linger_ms(const struct server *f)
{
	return f->draining ? CGI_LINGER_LEAST_MS : CGI_LINGER_MOST_MS;
}

/* Those whose parameters or body do not come as a whole: a thread waits for the rest. And those that the web server
 * does not close, or that are to be cut. */
static void end_patience(struct server *f)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&f->all.in[CUTTING]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (is_time_to_cut(f, c)) {
			cgi_cut(c->cgi);
			connection_kill(&f->all, c);
		}
	}

	while ((c = TAILQ_FIRST(&f->all.in[LINGERING])) != NULL &&
	       f->now_ms - c->since_ms >= linger_ms(f))
		connection_kill(&f->all, c);

	for (c = TAILQ_FIRST(&f->all.in[READING]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (f->now_ms - c->since_ms >= c->patience_ms && !c->fresh)
			serve_or_queue(f, c, false);
	}
}

static void retry(struct server *f)
{
	struct slots again = STAILQ_HEAD_INITIALIZER(again);
	struct slot *s;

	if (f->now_ms >= f->pause_until_ms)
		f->pause_until_ms = 0;
	if (f->now_ms < f->threads_due_ms)
		return;
	STAILQ_CONCAT(&again, &f->unthreaded);
	while ((s = STAILQ_FIRST(&again)) != NULL) {
		STAILQ_REMOVE_HEAD(&again, link);
		give_to_thread(f, s);
	}
}

/* Those that are fresh now; a look may make others so. */
static void look_at_fresh(struct server *f)
{
	const struct connection *last = TAILQ_LAST(&f->all.fresh, connection_list);
	struct connection *c = NULL;

	while (c != last) {
		c = TAILQ_FIRST(&f->all.fresh);
		connection_unfresh(&f->all, c);
		look(f, c);
	}
}

/* What came in this turn, and what follows from it: a few times over, then others have to be heard. */
static void settle(struct server *f)
{
	struct connection *c;

	for (int i = 0; i == 0 || (i < ROUNDS_PER_TURN && !TAILQ_EMPTY(&f->all.fresh)); i++) {
		look_at_fresh(f);
		mux_work(f->mux);
		while ((c = TAILQ_FIRST(&f->all.in[QUEUED])) != NULL && serve(f, c, c->whole))
			;
	}
	end_patience(f);
	listen_or_not(f);
	connections_free_dead(&f->all);
}

/* The sooner of the two; -1: never. */
static int sooner_ms(const struct server *f, int most_ms, int64_t due_ms)
{
	int64_t left_ms = due_ms > f->now_ms ? due_ms - f->now_ms : 0;

	return most_ms < 0 || left_ms < most_ms ? (int)left_ms : most_ms;
}

static int timeout_ms(const struct server *f)
{
	int most_ms = mux_timeout_ms(f->mux);
	const struct connection *c;

	if (!TAILQ_EMPTY(&f->all.fresh))
		return 0;
	TAILQ_FOREACH (c, &f->all.in[READING], link)
		most_ms = sooner_ms(f, most_ms, c->since_ms + c->patience_ms);
	c = TAILQ_FIRST(&f->all.in[LINGERING]);
	if (c != NULL)
		most_ms = sooner_ms(f, most_ms, c->since_ms + linger_ms(f));
	if (!TAILQ_EMPTY(&f->all.in[CUTTING]))
		most_ms = sooner_ms(f, most_ms, f->now_ms + CGI_CUT_LEAST_MS / 2);
	if (f->pause_until_ms != 0 || f->draining || !STAILQ_EMPTY(&f->unthreaded) ||
	    !TAILQ_EMPTY(&f->all.in[QUEUED]) || (f->listen_fd >= 0 && !f->accepting))
		most_ms = sooner_ms(f, most_ms, f->now_ms + RETRY_MS);
	return most_ms;
}

/* Stays readable, as it is not for us to read. */
static void stop(struct server *f)
{
	f->told_to_stop = true;
	CHECK(epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, f->stop_fd, NULL) == 0);
}

static void turn(struct server *f)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int count = epoll_wait(f->epoll_fd, events, EVENTS_PER_TURN, timeout_ms(f));

	f->now_ms = clock_now_ms();
	for (int i = 0; i < count; i++) {
		void *what = events[i].data.ptr;
		if (what == &f->listen_fd)
			(void)take_connections(f);
		else if (what == &f->wake_fd)
			take_back(f);
		else if (what == &f->stop_fd)
			stop(f);
		else if (what != f->mux)
			on_connection(f, what, events[i].events);
	}
	if (!STAILQ_EMPTY(&f->unthreaded) || f->pause_until_ms != 0)
		retry(f);
	settle(f);
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
	listen_or_not(f);
	while (!f->told_to_stop)
		turn(f);
}

/* --- the end --- */

void server_take_rest(struct server *f)
{
	while (take_connections(f))
		;
}

/* A connection that the web server keeps may be about to get a request: it is closed once that has become
 * unlikely. One on which half a request has come is waited for: see cgi_accept(). */
static void close_idle(struct server *f, int64_t stopped_ms)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&f->all.in[IDLE]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		int64_t since_ms = c->since_ms > stopped_ms ? c->since_ms : stopped_ms;
		if (f->now_ms - since_ms >= DRAINED_IDLE_MS && !has_request(f, c))
			connection_kill(&f->all, c);
	}
}

/* What the time did not suffice for. */
static bool end_all(struct server *f)
{
	log_warn("server.hurry running=%zu", f->busy);
	mux_stop(f->mux);
	for (size_t i = 0; i < f->slot_count; i++) {
		struct slot *s = &f->slots[i];
		if (s->connection == NULL || s->in_thread)
			continue;
		if (s->begun)
			relay_end_now(s->relay);
		s->state = RELAY_OVER;
	}
	return threads_stop(f->threads, HURRY_MS);
}

bool server_drain(struct server *f, int64_t most_ms)
{
	int64_t stopped_ms = clock_now_ms();

	f->draining = true;
	listen_or_not(f);
	while (f->all.count > 0 && f->now_ms - stopped_ms < most_ms) {
		turn(f);
		close_idle(f, stopped_ms);
	}
	return f->all.count == 0 ? threads_stop(f->threads, HURRY_MS) : end_all(f);
}

void server_serve_plain(struct server *f)
{
	f->now_ms = clock_now_ms();
	f->plain = true;
	CHECK(serve(f, connection_new(&f->all, cgi_new_plain(), f->now_ms), false));
	while (f->all.count > 0)
		turn(f);
	CHECK(threads_stop(f->threads, HURRY_MS)); /* its thread has nothing to do any more */
}

/* --- start --- */

static void add(struct server *f, int *fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};

	CHECK(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, *fd, &event) == 0);
}

struct server *server_new(const struct server_settings *s, char *why, size_t why_bytes)
{
	struct server *f = xcalloc(1, sizeof *f);

	f->mux = mux_new(s->gate, s->slots, on_reply, f, why, why_bytes);
	if (f->mux == NULL) {
		free(f);
		return NULL;
	}
	f->connections_max = s->connections;
	f->slot_count = s->slots;
	f->slots = xcalloc(s->slots, sizeof *f->slots);
	STAILQ_INIT(&f->free);
	STAILQ_INIT(&f->unthreaded);
	STAILQ_INIT(&f->done);
	for (size_t i = 0; i < s->slots; i++) {
		f->slots[i].server = f;
		f->slots[i].number = (uint16_t)i;
		STAILQ_INSERT_TAIL(&f->free, &f->slots[i], link);
	}
	f->quota = quota_new(s->slots);
	f->threads = threads_new(s->slots, work);
	f->max_body_bytes = s->max_body_bytes;
	f->listen_fd = -1;
	f->stop_fd = s->stop_fd;
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(f->epoll_fd >= 0 && f->wake_fd >= 0 && pthread_mutex_init(&f->lock, NULL) == 0);
	connections_init(&f->all, f->epoll_fd);
	add(f, &f->wake_fd);
	if (f->stop_fd >= 0)
		add(f, &f->stop_fd);
	mux_watch(f->mux, f->epoll_fd, f->mux);
	return f;
}

void server_destroy(struct server **fp)
{
	struct server *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->slot_count; i++) {
		struct slot *s = &f->slots[i];
		if (s->connection != NULL) { /* ended by end_all() */
			if (s->state != RELAY_OVER)
				relay_end_now(s->relay);
			relay_destroy(&s->relay);
			connection_kill(&f->all, s->connection);
		}
		ask_destroy(&s->ask);
	}
	connections_fini(&f->all);
	threads_destroy(&f->threads);
	quota_destroy(&f->quota);
	mux_destroy(&f->mux);
	close(f->epoll_fd);
	close(f->wake_fd);
	pthread_mutex_destroy(&f->lock);
	free(f->slots);
	free(f);
}
