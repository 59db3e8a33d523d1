/* broker/core/group_tunnel.c - The tunnels of one connection id: from the greeting, through
 * admission and serving, until the socket is closed. */
#include "broker/core/core.h"

#include <string.h>

static void refuse_one_more(struct tunnel *t)
{
	t->hub->stats.over_limit_total += t->doom == NULL;
	tunnel_doom(t, 1013, "too many tunnels for this connection id");
}

/* Above the limit, closes the oldest tunnel that has not greeted: an honest client greets at
 * once. */
static void enter_greeting(struct group *r, struct tunnel *t)
{
	TAILQ_INSERT_TAIL(&r->greeting, t, siblings);
	if (++r->greeting_count > (size_t)r->hub->config->max_tunnels)
		refuse_one_more(TAILQ_FIRST(&r->greeting));
}

static void leave_greeting(struct group *r, struct tunnel *t)
{
	TAILQ_REMOVE(&r->greeting, t, siblings);
	r->greeting_count--;
}

/* The earlier tunnel of the same client process, which this one replaces. */
static struct tunnel *find_own_earlier(const struct group *r, const struct tunnel *t)
{
	struct tunnel *other;

	TAILQ_FOREACH (other, &r->tunnels, siblings) {
		if (*t->instance != '\0' && strcmp(other->instance, t->instance) == 0)
			return other;
	}
	return NULL;
}

static bool on_admit(struct tunnel *t)
{
	struct group *r = t->home;
	struct tunnel *earlier;

	while ((earlier = find_own_earlier(r, t)) != NULL)
		tunnel_kill(earlier, 1000, "replaced");
	if (r->tunnel_count < (size_t)r->hub->config->max_tunnels)
		return true;
	refuse_one_more(t);
	return false;
}

static void on_opened(struct tunnel *t)
{
	struct group *r = t->home;

	leave_greeting(r, t);
	t->group = r;
	TAILQ_INSERT_TAIL(&r->tunnels, t, siblings);
	r->tunnel_count++;
	group_review_presence(r);
	group_touch(r);
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
	struct group *r = t->home;

	if (t->group == NULL) {
		leave_greeting(r, t);
	} else {
		TAILQ_REMOVE(&r->tunnels, t, siblings);
		r->tunnel_count--;
		t->group = NULL;
		group_review_presence(r);
		group_touch(r); /* the others may refuse a queued request */
	}
	if (t->socket == NULL)
		return false;
	return ++r->closing_count > (size_t)r->hub->config->max_tunnels;
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
	struct group *r = group_get(h, start->id, strlen(start->id));
	struct tunnel *t = tunnel_new(h, start, r, &events);

	group_hold(r);
	group_expect_tunnel(r);
	enter_greeting(r, t);
	tunnel_start(t);
	return t;
}

void group_tunnel_free(struct tunnel *t)
{
	struct group *r = t->home;

	tunnel_free(t);
	group_release(r);
}
