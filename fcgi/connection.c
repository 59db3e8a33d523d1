/* fcgi/connection.c - see connection.h. */
#include "fcgi/connection.h"

#include <stdlib.h>

void connections_init(struct connections *all, int epoll_fd, const struct event_source *source)
{
	all->epoll_fd = epoll_fd;
	all->source = *source;
	all->count = 0;
	for (int i = 0; i < CONNECTION_STATES; i++)
		TAILQ_INIT(&all->in[i]);
	TAILQ_INIT(&all->pending);
}

void connections_fini(struct connections *all)
{
	for (int i = 0; i < DEAD; i++) {
		while (!TAILQ_EMPTY(&all->in[i]))
			connection_kill(all, TAILQ_FIRST(&all->in[i]));
	}
	connections_free_dead(all);
}

struct connection *connection_new(struct connections *all, struct cgi *cgi, int64_t now_ms)
{
	struct connection *c = xcalloc(1, sizeof *c);

	c->source = all->source;
	c->cgi = cgi;
	c->state = IDLE;
	c->since_ms = now_ms;
	all->count++;
	TAILQ_INSERT_TAIL(&all->in[IDLE], c, link);
	return c;
}

struct connection *connection_of(struct event_source *source)
{
	return (struct connection *)((char *)source - offsetof(struct connection, source));
}

void connection_kill(struct connections *all, struct connection *c)
{
	cgi_destroy(&c->cgi); /* closing the descriptor removes it from the epoll set */
	connection_unmark_pending(all, c);
	connection_move(all, c, DEAD);
	all->count--;
}

void connections_free_dead(struct connections *all)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&all->in[DEAD])) != NULL) {
		TAILQ_REMOVE(&all->in[DEAD], c, link);
		free(c);
	}
}

void connection_move(struct connections *all, struct connection *c, enum connection_state state)
{
	TAILQ_REMOVE(&all->in[c->state], c, link);
	c->state = state;
	TAILQ_INSERT_TAIL(&all->in[state], c, link);
}

void connection_mark_pending(struct connections *all, struct connection *c)
{
	if (!c->pending)
		TAILQ_INSERT_TAIL(&all->pending, c, pending_link);
	c->pending = true;
}

void connection_unmark_pending(struct connections *all, struct connection *c)
{
	if (c->pending)
		TAILQ_REMOVE(&all->pending, c, pending_link);
	c->pending = false;
}

void connection_watch(struct connections *all, struct connection *c, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = &c->source};

	if (c->watched == events)
		return;
	CHECK(epoll_ctl(all->epoll_fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
			cgi_descriptor(c->cgi), &event) == 0);
	c->watched = events;
}
