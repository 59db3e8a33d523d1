/* fcgi/connection.h - The connections from the web server, in lists by what they do. */
#ifndef PIPEGATE_CONNECTION_H
#define PIPEGATE_CONNECTION_H

#include "fcgi/cgi.h"
#include "fcgi/event_source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

struct slot;

enum connection_state {
	IDLE,
	READING, /* some of a request has come */
	QUEUED,	 /* its request waits for a slot */
	SERVED,
	LINGERING, /* see cgi_linger() */
	CUTTING,   /* see cgi_may_cut() */
	DEAD,	   /* closed, and not yet freed */
	CONNECTION_STATES
};

struct connection {
	struct event_source source; /* connection_of() finds the way back */
	struct cgi *cgi;
	enum connection_state state; /* changed by connection_move() only */
	TAILQ_ENTRY(connection) link;
	bool fresh; /* to be looked at in this turn */
	TAILQ_ENTRY(connection) fresh_link;
	struct slot *slot;   /* SERVED */
	int64_t since_ms;    /* IDLE, READING, LINGERING, CUTTING: it has been */
	int64_t patience_ms; /* READING */
	bool whole;	     /* QUEUED: reading it will not block */
	uint32_t watched;    /* epoll's events; 0: not in the set */
};

TAILQ_HEAD(connection_list, connection);

struct connections {
	int epoll_fd;				      /* borrowed */
	struct event_source source;		      /* copied into each connection */
	size_t count;				      /* without DEAD */
	struct connection_list in[CONNECTION_STATES]; /* who came first stands first */
	struct connection_list fresh;
};

/* `on_event` comes with `ctx` and the source of one of them. */
void connections_init(struct connections *all, int epoll_fd, const struct event_source *source);
void connections_fini(struct connections *all); /* closes them */

/* IDLE. Takes over `cgi`. */
struct connection *connection_new(struct connections *all, struct cgi *cgi, int64_t now_ms);

/* Closes it. Events of it may still come in this turn, so it is freed later. */
void connection_kill(struct connections *all, struct connection *c);
void connections_free_dead(struct connections *all);

struct connection *connection_of(struct event_source *source);

void connection_move(struct connections *all, struct connection *c, enum connection_state state);

void connection_refresh(struct connections *all, struct connection *c);
void connection_unfresh(struct connections *all, struct connection *c);

/* Edge-triggered: an event says that there is something new. */
#define NEWS (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* Events for the epoll set. */
void connection_watch(struct connections *all, struct connection *c, uint32_t events);

#endif
