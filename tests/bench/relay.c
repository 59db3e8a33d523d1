/* tests/bench/relay.c - A TCP relay that behaves like a long or a slow line. relay_main.c says how
 * in detail.
 *
 * What one side sends travels as parcels, each with the time at which it is due at the far side.
 * The delay is the same for all, and all connections share the line of their direction; so the
 * parcels of a direction are due in the order in which they left, and one queue holds them all:
 *
 *	read from an end > line (rate, bounded queue) > in flight (delay) > outbox of the other end
 *
 * An opening, a half-close and a reset are parcels too. All descriptors are edge-triggered: an end
 * remembers that it is readable until a read says otherwise, so an end that may not be read now
 * costs nothing. */
#include "common/check.h"
#include "common/clock.h"
#include "tests/bench/relay.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
	PIECE_BYTES = 65536, /* read at once where there is no rate */
	/* Arrived but not taken by the receiver: from here on the sender is not read. */
	OUTBOX_BYTES = 262144,
	/* With a rate: the receive buffers, in front of the line, and the segments in them. */
	RECEIVE_BYTES = 8192,
	SEGMENT_BYTES = 1448,
	READS = 16, /* pieces read until the loop sees to what is due */
	EVENTS = 256,
	GRAIN_US = 250, /* parcels due within this time arrive together */
};

TAILQ_HEAD(parcels, parcel);
TAILQ_HEAD(ends, end);
TAILQ_HEAD(connections, connection);

enum kind { DATA, OPEN, OPENED, FIN, RESET };

struct parcel {
	TAILQ_ENTRY(parcel) link; /* in `in_flight` of its way, then in an outbox */
	struct end *to;
	int64_t due_us;
	enum kind kind;
	size_t bytes, sent;
	unsigned char data[];
};

struct end {
	struct connection *connection;
	TAILQ_ENTRY(end) link; /* in `readable_ends` */
	struct parcels outbox; /* DATA and FIN that have arrived */
	size_t outbox_bytes;
	int fd;	     /* -1: not connected yet, or closed */
	int way;     /* of what is read from it */
	bool open;   /* its connection is known to stand: may be read */
	bool listed; /* in `readable_ends` */
	bool ended;  /* nothing more will be read */
	bool shut;   /* nothing more will be written */
};

/* ends[0] was accepted, ends[1] is connected to TARGET. */
struct connection {
	TAILQ_ENTRY(connection) link; /* in `ended_connections` */
	struct end ends[2];
	size_t in_flight; /* parcels to either end */
	bool listed;	  /* in `ended_connections` */
};

/* One direction of the line. */
struct way {
	struct parcels in_flight;
	int64_t free_ns; /* when the line has sent what was given to it */
};

static struct relay_settings options;
static const struct addrinfo *target;
static struct way ways[2];
static struct ends readable_ends = TAILQ_HEAD_INITIALIZER(readable_ends);
static struct connections ended_connections = TAILQ_HEAD_INITIALIZER(ended_connections);
static size_t held_bytes;
static int epoll_fd, timer_fd, own_listener;
/* The timer's: the line has room again then. 0: nobody waits for it. */
static int64_t room_us;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct end *other(struct end *e)
{
	return &e->connection->ends[e == &e->connection->ends[0]];
}

/* ---- parcels */

/* How long the line takes for them. */
static int64_t line_ns(int64_t bytes)
{
	return options.rate_bits ? bytes * 8000000000 / options.rate_bits : 0;
}

static void send_parcel(struct end *from, enum kind kind, const void *data, size_t bytes)
{
	struct way *way = &ways[from->way];
	struct parcel *p = xmalloc(sizeof *p + bytes);
	int64_t now_ns = clock_now_us() * 1000;

	if (way->free_ns < now_ns)
		way->free_ns = now_ns;
	way->free_ns += line_ns((int64_t)bytes);
	*p = (struct parcel){.to = other(from), .kind = kind, .bytes = bytes};
	p->due_us = way->free_ns / 1000 + options.delay_us;
	if (options.delay_us)
		p->due_us += GRAIN_US - p->due_us % GRAIN_US;
	if (bytes)
		memcpy(p->data, data, bytes);
	held_bytes += sizeof *p + bytes;
	from->connection->in_flight++;
	TAILQ_INSERT_TAIL(&way->in_flight, p, link);
}

static void free_parcel(struct parcel *p)
{
	held_bytes -= sizeof *p + p->bytes;
	free(p);
}

/* ---- connections */

static void close_end(struct end *e)
{
	struct parcel *p;

	while ((p = TAILQ_FIRST(&e->outbox)) != NULL) {
		TAILQ_REMOVE(&e->outbox, p, link);
		free_parcel(p);
	}
	e->outbox_bytes = 0;
	if (e->listed)
		TAILQ_REMOVE(&readable_ends, e, link);
	e->listed = false;
	e->ended = e->shut = true;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

/* Lists the connection for free_ended() once nothing refers to it but events of this turn. */
static void note_end(struct connection *c)
{
	bool over = c->ends[0].shut && c->ends[0].ended && c->ends[1].shut && c->ends[1].ended;

	if (over && !c->in_flight && !c->listed) {
		c->listed = true;
		TAILQ_INSERT_TAIL(&ended_connections, c, link);
	}
}

static void free_ended(void)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&ended_connections)) != NULL) {
		TAILQ_REMOVE(&ended_connections, c, link);
		close_end(&c->ends[0]);
		close_end(&c->ends[1]);
		free(c);
	}
}

/* The end's socket has failed: the other side gets a reset after the delay. */
static void fail_end(struct end *e)
{
	if (e->ended && e->shut)
		return;
	close_end(e);
	send_parcel(e, RESET, NULL, 0);
}

static void reset_end(struct end *e)
{
	struct linger now = {.l_onoff = 1};

	if (e->fd >= 0)
		setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close_end(e);
}

/* With a rate, what the kernel holds in front of the line must be small, and so must segments. */
static void bound_buffers(int fd)
{
	int receive = RECEIVE_BYTES, segment = SEGMENT_BYTES;

	if (options.rate_bits == 0)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment) != 0)
		die("relay: setsockopt");
}

static void watch(struct end *e)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				    .data.ptr = e};
	int on = 1;

	setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, e->fd, &event) != 0)
		die("relay: epoll_ctl");
}

static void mark_readable(struct end *e)
{
	if (e->listed || e->ended)
		return;
	e->listed = true;
	TAILQ_INSERT_TAIL(&readable_ends, e, link);
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(own_listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = xcalloc(1, sizeof *c);

		for (int i = 0; i < 2; i++) {
			c->ends[i] = (struct end){.connection = c, .fd = -1, .way = i};
			TAILQ_INIT(&c->ends[i].outbox);
		}
		c->ends[0].fd = fd;
		watch(&c->ends[0]);
		send_parcel(&c->ends[0], OPEN, NULL, 0);
	}
	if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
		die("relay: accept");
}

static void connect_end(struct end *e)
{
	const struct addrinfo *a = target;

	e->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (e->fd < 0)
		die("relay: socket");
	bound_buffers(e->fd);
	if (connect(e->fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS)
		fail_end(e);
	else
		watch(e);
}

/* The first event of a connecting end. False: it has failed. */
static bool check_connected(struct end *e)
{
	int fault = 0;
	socklen_t bytes = sizeof fault;

	if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &fault, &bytes) != 0 || fault != 0) {
		fail_end(e);
		return false;
	}
	e->open = true;
	send_parcel(e, OPENED, NULL, 0);
	return true;
}

/* ---- writing */

static void flush(struct end *e)
{
	struct parcel *p;

	while ((p = TAILQ_FIRST(&e->outbox)) != NULL && !e->shut) {
		ssize_t n = 0;

		if (p->kind == FIN) {
			shutdown(e->fd, SHUT_WR);
			e->shut = true;
		} else {
			n = send(e->fd, p->data + p->sent, p->bytes - p->sent, MSG_NOSIGNAL);
		}
		if (n < 0) {
			if (errno != EAGAIN)
				fail_end(e);
			return;
		}
		p->sent += (size_t)n;
		e->outbox_bytes -= (size_t)n;
		if (p->sent == p->bytes) {
			TAILQ_REMOVE(&e->outbox, p, link);
			free_parcel(p);
		}
	}
}

static void arrive(struct parcel *p)
{
	struct end *to = p->to;

	if ((p->kind == DATA || p->kind == FIN) && !to->shut) {
		TAILQ_INSERT_TAIL(&to->outbox, p, link);
		to->outbox_bytes += p->bytes;
		if (TAILQ_FIRST(&to->outbox) == p)
			flush(to);
		return;
	}
	if (p->kind == OPEN)
		connect_end(to);
	else if (p->kind == OPENED)
		to->open = true;
	else if (p->kind == RESET)
		reset_end(to);
	free_parcel(p);
}

static void deliver(struct way *way)
{
	int64_t now = clock_now_us();
	struct parcel *p;

	while ((p = TAILQ_FIRST(&way->in_flight)) != NULL && p->due_us <= now) {
		struct connection *c = p->to->connection;

		TAILQ_REMOVE(&way->in_flight, p, link);
		c->in_flight--;
		arrive(p);
		note_end(c);
	}
}

/* ---- reading */

/* Whether the line can take a piece; if not, when it can. */
static bool line_has_room(const struct way *way)
{
	int64_t wait_us;

	if (options.rate_bits == 0)
		return true;
	wait_us = (way->free_ns - line_ns(options.queue_bytes - RELAY_LINE_PIECE_BYTES)) / 1000 + 1;
	if (wait_us <= clock_now_us())
		return true;
	if (room_us == 0 || wait_us < room_us)
		room_us = wait_us;
	return false;
}

static bool may_read(struct end *e)
{
	return e->open && held_bytes < (size_t)options.memory_bytes &&
	       other(e)->outbox_bytes < OUTBOX_BYTES && line_has_room(&ways[e->way]);
}

/* Reads one piece. */
static void read_end(struct end *e)
{
	static unsigned char piece[PIECE_BYTES];
	size_t most = options.rate_bits ? RELAY_LINE_PIECE_BYTES : PIECE_BYTES;
	ssize_t n = recv(e->fd, piece, most, 0);

	if (n > 0) {
		send_parcel(e, DATA, piece, (size_t)n);
		return;
	}
	TAILQ_REMOVE(&readable_ends, e, link);
	e->listed = false;
	if (n == 0) {
		e->ended = true;
		send_parcel(e, FIN, NULL, 0);
	} else if (errno != EAGAIN) {
		fail_end(e);
	}
}

static struct end *next_readable(void)
{
	struct end *e;

	TAILQ_FOREACH (e, &readable_ends, link) {
		if (may_read(e))
			break;
	}
	return e;
}

/* A piece of each end in turn, so that none waits behind another one's bulk. Returns whether more
 * can be read at once. */
static bool read_all(void)
{
	struct end *e = NULL;

	room_us = 0;
	for (int i = 0; i < READS && (e = next_readable()) != NULL; i++) {
		TAILQ_REMOVE(&readable_ends, e, link);
		TAILQ_INSERT_TAIL(&readable_ends, e, link);
		read_end(e);
	}
	return e != NULL;
}

/* ---- the loop */

/* To when the next parcel is due, or the line has room again. */
static void set_timer(void)
{
	static int64_t set_us;
	int64_t at = room_us;
	struct itimerspec when = {.it_interval.tv_sec = 0};

	for (int i = 0; i < 2; i++) {
		const struct parcel *p = TAILQ_FIRST(&ways[i].in_flight);

		if (p != NULL && (at == 0 || p->due_us < at))
			at = p->due_us;
	}
	if (at == set_us)
		return;
	set_us = at;
	when.it_value = (struct timespec){.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000};
	if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		die("relay: timerfd_settime");
}

static void on_event(struct end *e, uint32_t events)
{
	if (e->fd < 0)
		return;
	if (e->way == 1 && !e->open && !check_connected(e))
		return;
	if (events & EPOLLERR) {
		fail_end(e);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
		mark_readable(e);
	if (events & EPOLLOUT)
		flush(e);
	note_end(e->connection);
}

static void on_events(const struct epoll_event *events, int count)
{
	uint64_t expirations;

	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == &own_listener)
			accept_all();
		else if (events[i].data.ptr != &timer_fd)
			on_event(events[i].data.ptr, events[i].events);
		else if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
			die("relay: timerfd");
	}
}

static void watch_own(int *fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, *fd, &event) != 0)
		die("relay: epoll_ctl");
}

_Noreturn void relay_run(const struct relay_settings *settings, const struct addrinfo *to,
			 int listen_fd)
{
	struct epoll_event events[EVENTS];
	bool more = false;

	options = *settings;
	target = to;
	own_listener = listen_fd;
	for (int i = 0; i < 2; i++)
		TAILQ_INIT(&ways[i].in_flight);
	/* Parcels come and go by the thousand: their memory is kept. */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (epoll_fd < 0 || timer_fd < 0)
		die("relay");
	bound_buffers(own_listener);
	watch_own(&own_listener);
	watch_own(&timer_fd);
	for (;;) {
		on_events(events, epoll_wait(epoll_fd, events, EVENTS, more ? 0 : -1));
		deliver(&ways[0]);
		deliver(&ways[1]);
		more = read_all();
		/* Without a delay, what was read is due. */
		if (options.delay_us == 0) {
			deliver(&ways[0]);
			deliver(&ways[1]);
		}
		free_ended();
		set_timer();
	}
}
