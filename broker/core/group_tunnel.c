/* broker/core/group_tunnel.c - The tunnels of one connection id: from the greeting, through
 * admission and serving, until the socket is closed. */
#include "broker/core/core.h"

#include <string.h>

static void refuse_one_more(struct tunnel *t)
{
	t->hub->stats.over_limit_total += t->doom == NULL;
	t->hub->stats.refusals[STATS_REFUSED_TOO_MANY] += t->doom == NULL;
	tunnel_doom(t, 1013, "too many tunnels for this connection id");
}

/* Above the limit, closes the oldest tunnel that has not greeted: an honest client greets at
 * once. */
static void enter_greeting(struct group *g, struct tunnel *t)
{
	TAILQ_INSERT_TAIL(&g->greeting, t, siblings);
	if (++g->greeting_count > (size_t)g->hub->config->max_tunnels)
		refuse_one_more(TAILQ_FIRST(&g->greeting));
}

static void leave_greeting(struct group *g, struct tunnel *t)
{
	TAILQ_REMOVE(&g->greeting, t, siblings);
	g->greeting_count--;
}

/* The earlier tunnel of the same client process, which this one replaces. */
static struct tunnel *find_own_earlier(const struct group *g, const struct tunnel *t)
{
	struct tunnel *other;

	TAILQ_FOREACH (other, &g->tunnels, siblings) {
		if (*t->instance != '\0' && strcmp(other->instance, t->instance) == 0)
			return other;
	}
	return NULL;
}

static bool on_admit(struct tunnel *t)
{
	struct group *g = t->home;
	struct tunnel *earlier;

	while ((earlier = find_own_earlier(g, t)) != NULL) {
		g->hub->stats.replaced_total++;
		tunnel_kill(earlier, 1000, "replaced");
	}
	if (g->tunnel_count < (size_t)g->hub->config->max_tunnels)
		return true;
	refuse_one_more(t);
	return false;
}

static void on_opened(struct tunnel *t)
{
	struct group *g = t->home;

	leave_greeting(g, t);
	g->hub->stats.reconnects_total += g->had_tunnel;
	g->had_tunnel = true;
	t->group = g;
	TAILQ_INSERT_TAIL(&g->tunnels, t, siblings);
	g->tunnel_count++;
	group_review_presence(g);
	group_touch(g);
}

static void on_leaving(struct tunnel *t)
{
	group_review_presence(t->home);
}

static void on_room(struct tunnel *t)
{
	if (t->state == TUNNEL_OPEN)
		group_touch(t->home);
}

/* A peer can prolong the closing handshake for seconds, and its socket occupies a descriptor: so
 * above the limit, it is cut. */
static bool on_dead(struct tunnel *t)
{
	struct group *g = t->home;

	if (t->group == NULL) {
		leave_greeting(g, t);
	} else {
		TAILQ_REMOVE(&g->tunnels, t, siblings);
		g->tunnel_count--;
		t->group = NULL;
		group_review_presence(g);
		group_touch(g); /* the others may refuse a queued request */
	}
	if (t->socket == NULL)
		return false;
	return ++g->closing_count > (size_t)g->hub->config->max_tunnels;
}

static void on_returned(struct tunnel *t, struct exchange *x)
{
	group_return(t->home, x);
}

static void on_closed(struct tunnel *t)
{
	t->home->closing_count--;
}

struct tunnel *group_tunnel_open(struct hub *h, const struct tunnel_start *start)
{
	static const struct tunnel_events events = {
		.admit = on_admit,
		.opened = on_opened,
		.leaving = on_leaving,
		.room = on_room,
		.dead = on_dead,
		.returned = on_returned,
		.closed = on_closed,
	};
	struct group *g = group_get(h, start->id, strlen(start->id));
	struct tunnel *t = tunnel_new(h, start, g, &events);

	group_hold(g);
	group_expect_tunnel(g);
	enter_greeting(g, t);
	tunnel_start(t);
	return t;
}

void group_tunnel_free(struct tunnel *t)
{
	struct group *g = t->home;

	tunnel_free(t);
	group_release(g);
}
