/* fcgi/connection.c - see connection.h. */
#include "fcgi/connection.h"

#include <stdlib.h>

enum {
	CLOSABLE_IDLE_MS = 1000,
	/* Longer than the ttl of conf/apache/pipegate.conf: Apache uses none that is older. */
	IDLE_MAX_MS = 300000,
};

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

bool connection_is_unused(const struct connection *c, int64_t idle_ms, int64_t min_ms)
{
	return idle_ms >= CGI_LINGER_MIN_MS || (idle_ms >= min_ms && cgi_is_all_read(c->cgi));
}

struct connection *connections_closable(const struct connections *all, int64_t now_ms)
{
	struct connection *c = TAILQ_FIRST(&all->in[LINGERING]);

	if (c != NULL && now_ms - c->since_ms >= CGI_LINGER_MIN_MS)
		return c;
	c = TAILQ_FIRST(&all->in[IDLE]);
	return c != NULL && connection_is_unused(c, now_ms - c->since_ms, CLOSABLE_IDLE_MS) ? c
											    : NULL;
}

static bool is_time_to_cut(const struct connection *c, int64_t waited_ms)
{
	return waited_ms >= CGI_CUT_MAX_MS ||
	       (waited_ms >= CGI_CUT_MIN_MS && cgi_is_all_read(c->cgi));
}

/* One that is pending may have received a request. */
static void expire_list(struct connections *all, enum connection_state state, int64_t before_ms)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&all->in[state])) != NULL && c->since_ms <= before_ms &&
	       (state != IDLE || !c->pending))
		connection_kill(all, c);
}

void connections_expire(struct connections *all, int64_t now_ms, int64_t linger_ms)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&all->in[CUTTING]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (is_time_to_cut(c, now_ms - c->since_ms)) {
			cgi_cut(c->cgi);
			connection_kill(all, c);
		}
	}
	expire_list(all, LINGERING, now_ms - linger_ms);
	expire_list(all, IDLE, now_ms - IDLE_MAX_MS);
}

int64_t connections_due_ms(const struct connections *all, int64_t now_ms, int64_t linger_ms)
{
	const struct connection *lingering = TAILQ_FIRST(&all->in[LINGERING]);
	const struct connection *idle = TAILQ_FIRST(&all->in[IDLE]);
	int64_t due_ms = INT64_MAX;

	if (!TAILQ_EMPTY(&all->in[CUTTING]))
		due_ms = now_ms + CGI_CUT_MIN_MS / 2;
	if (lingering != NULL && lingering->since_ms + linger_ms < due_ms)
		due_ms = lingering->since_ms + linger_ms;
	if (idle != NULL && idle->since_ms + IDLE_MAX_MS < due_ms)
		due_ms = idle->since_ms + IDLE_MAX_MS;
	return due_ms < INT64_MAX ? due_ms : -1;
}
