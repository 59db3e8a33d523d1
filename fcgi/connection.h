/* fcgi/connection.h - The connections from the web server, in one list per state. */
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
	READING, /* part of a request has arrived */
	QUEUED,	 /* its request waits for a slot */
	SERVED,
	LINGERING, /* see cgi_linger() */
	CUTTING,   /* see cgi_is_all_read() */
	DEAD,	   /* closed, not yet freed */
	CONNECTION_STATES
};

struct connection {
	struct event_source source; /* connection_of() maps it back to the connection */
	struct cgi *cgi;
	enum connection_state state; /* changed by connection_move() only */
	TAILQ_ENTRY(connection) link;
	bool pending; /* to be examined in this turn */
	TAILQ_ENTRY(connection) pending_link;
	struct slot *slot;  /* SERVED */
	int64_t arrived_ms; /* when its request began to arrive */
	int64_t since_ms;   /* when it entered IDLE, READING, LINGERING or CUTTING */
	int64_t read_timeout_ms;
	bool whole;	  /* QUEUED: reading the request will not block */
	uint32_t watched; /* epoll events; 0: not in the set */
	bool has_input;	  /* an event came since the connection was last examined */
};

TAILQ_HEAD(connection_list, connection);

struct connections {
	int epoll_fd;				      /* borrowed */
	struct event_source source;		      /* copied into each connection */
	size_t count;				      /* without DEAD */
	struct connection_list in[CONNECTION_STATES]; /* oldest first */
	struct connection_list pending;
};

/* `source` holds on_event() and its ctx; on_event() gets the source of one connection. */
void connections_init(struct connections *all, int epoll_fd, const struct event_source *source);
void connections_fini(struct connections *all); /* closes all */

/* Returns a connection in IDLE. Takes `cgi`. */
struct connection *connection_new(struct connections *all, struct cgi *cgi, int64_t now_ms);

/* Closes the connection. Events of it may still follow in this turn, so it is freed later. */
void connection_kill(struct connections *all, struct connection *c);
void connections_free_dead(struct connections *all);

struct connection *connection_of(struct event_source *source);

void connection_move(struct connections *all, struct connection *c, enum connection_state state);

void connection_mark_pending(struct connections *all, struct connection *c);
void connection_unmark_pending(struct connections *all, struct connection *c);

/* Edge-triggered: an event reports new input only. */
#define CONNECTION_INPUT (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* Sets the events that epoll reports for the connection. */
void connection_watch(struct connections *all, struct connection *c, uint32_t events);

/* --- when to close --- */

/* Returns true if an idle connection may be closed after `min_ms`: the web server has had time to
 * read the last response, which a close in the middle of an upload might destroy. */
bool connection_is_unused(const struct connection *c, int64_t idle_ms, int64_t min_ms);

/* Finds a connection that can be closed to make room: the web server has had time to read its
 * response, or it has been idle longest. Never a connection that is new or was just in use: a
 * request may be in flight. NULL: none. */
struct connection *connections_closable(const struct connections *all, int64_t now_ms);

/* Closes connections that were IDLE or LINGERING for too long, and those that are CUTTING once the
 * web server has read what was sent. `linger_ms`: limit for LINGERING. */
void connections_expire(struct connections *all, int64_t now_ms, int64_t linger_ms);

/* Returns when connections_expire() is due; -1: never. */
int64_t connections_due_ms(const struct connections *all, int64_t now_ms, int64_t linger_ms);

#endif
