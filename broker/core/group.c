/* broker/core/group.c - Connection ids: which tunnels serve one, and which exchanges wait for them.
 *
 * A group exists while a tunnel or an exchange has it as its home, and afterwards for as long as
 * there is room, so that a request for a name that was here before may wait for its client to come
 * back.
 *
 * An exchange waits only while no tunnel that can carry it has room. What may end that marks the
 * group, and group_settle() dispatches marked groups once a turn. A new exchange of a marked group
 * is looked at after those that wait, so it overtakes none that could have had its place. */
#include "broker/core/core.h"

#include <stdlib.h>
#include <string.h>

enum {
	IDLE_GROUPS_MAX = 65536,
	/* For this long after a start, any id may be one whose client will reconnect. */
	FRESH_MS = 60000,
	/* Limit on requests queued for unknown ids, summed over all ids; then queue-full. Each
	 * occupies one of the responder's slots (1024), and a scan of ids must not fill them. */
	UNSEEN_QUEUED_MAX = 256,
	/* Limit on callers' WebSockets of one id, in units of what one tunnel may carry; then
	 * queue-full. Each holds a descriptor, and an id may have many tunnels. */
	WEBSOCKETS_TUNNELS = 4,
};

/* A caller's WebSocket that was assigned to a tunnel. */
struct socket {
	UT_hash_handle hh;
	uint8_t corr[CORR_BYTES];
	struct group *group;
	size_t unsent_bytes; /* not read by its caller; charged to the group */
};

struct group *group_find(struct hub *h, const char *id, size_t bytes)
{
	struct group *g;

	HASH_FIND(hh, h->groups, id, bytes, g);
	return g;
}

struct group *group_get(struct hub *h, const char *id, size_t bytes)
{
	struct group *g = group_find(h, id, bytes);

	if (g != NULL)
		return g;
	CHECK(bytes <= CONNECTION_ID_MAX_BYTES);
	g = xcalloc(1, sizeof *g);
	g->hub = h;
	memcpy(g->id, id, bytes);
	TAILQ_INIT(&g->tunnels);
	TAILQ_INIT(&g->greeting);
	TAILQ_INIT(&g->queue);
	HASH_ADD(hh, h->groups, id, bytes, g);
	g->idle = true;
	TAILQ_INSERT_HEAD(&h->idle_groups, g, idle_link);
	h->idle_group_count++;
	return g;
}

/* Keeps the group on the idle list exactly while it is unused. Call it after each change. */
static void review(struct group *g)
{
	struct hub *h = g->hub;
	bool idle = g->users == 0 && g->sockets == 0;

	if (idle == g->idle)
		return;
	g->idle = idle;
	if (!idle) {
		TAILQ_REMOVE(&h->idle_groups, g, idle_link);
		h->idle_group_count--;
		return;
	}
	if (g->seen)
		TAILQ_INSERT_TAIL(&h->idle_groups, g, idle_link);
	else
		TAILQ_INSERT_HEAD(&h->idle_groups, g, idle_link);
	h->idle_group_count++;
}

void group_hold(struct group *g)
{
	g->users++;
	review(g);
}

void group_release(struct group *g)
{
	CHECK(g->users > 0);
	g->users--;
	review(g);
}

void group_touch(struct group *g)
{
	if (g->queued > 0 && !g->dirty) {
		TAILQ_INSERT_TAIL(&g->hub->dirty_groups, g, dirty_link);
		g->dirty = true;
	}
}

static void untouch(struct group *g)
{
	if (g->dirty)
		TAILQ_REMOVE(&g->hub->dirty_groups, g, dirty_link);
	g->dirty = false;
}

static void forget_group(struct group *g)
{
	struct hub *h = g->hub;

	CHECK(g->held_bytes == 0 && TAILQ_EMPTY(&g->tunnels) && TAILQ_EMPTY(&g->queue));
	CHECK(g->windows.used_bytes == 0);
	budget_unmark(g);
	untouch(g);
	TAILQ_REMOVE(&h->idle_groups, g, idle_link);
	h->idle_group_count--;
	HASH_DEL(h->groups, g);
	free(g);
}

void group_forget_idle(struct hub *h)
{
	struct group *g;

	while ((g = TAILQ_FIRST(&h->idle_groups)) != NULL &&
	       (!g->seen || h->idle_group_count > IDLE_GROUPS_MAX))
		forget_group(g);
}

void group_free_all(struct hub *h)
{
	struct group *g;
	struct socket *s, *next;

	HASH_ITER (hh, h->sockets, s, next)
		group_socket_closed(h, s->corr);
	while ((g = TAILQ_FIRST(&h->idle_groups)) != NULL)
		forget_group(g);
	CHECK(h->groups == NULL);
}

/* The tunnel's load of this kind of exchange, and its limit. */
static size_t load_of(const struct tunnel *t, const struct exchange *x, size_t *most)
{
	*most = x->websocket ? (size_t)t->hub->config->max_websockets : t->max_running;
	return x->websocket ? t->websocket_count : t->running_count;
}

/* Why this tunnel can never carry that request; FAIL_NONE: it can. */
static enum fail refusal_of(const struct tunnel *t, const struct exchange *x)
{
	int64_t limit = tunnel_body_limit(t);

	if (!x->websocket && limit > 0 && (x->body_total_bytes > limit || x->up_bytes > limit))
		return FAIL_BODY_TOO_LARGE;
	return t->protocol->refuses(t, x);
}

/* Picks the tunnel with the fewest running; among equals, the least recently used. NULL: none has
 * room, or each one refuses such a request, and then *refusal says why. */
static struct tunnel *pick(struct group *g, const struct exchange *x, enum fail *refusal)
{
	struct tunnel *t, *best = NULL;
	bool one_could = false;
	size_t best_load = SIZE_MAX, most, most_sum = 0, leaving = 0;

	*refusal = FAIL_NONE;
	TAILQ_FOREACH (t, &g->tunnels, siblings) {
		if (t->state != TUNNEL_OPEN) {
			leaving += t->websocket_count;
			continue;
		}
		enum fail f = refusal_of(t, x);
		if (f != FAIL_NONE) {
			*refusal = f;
			continue;
		}
		one_could = true;
		size_t load = load_of(t, x, &most);
		most_sum += most;
		if (load < most && load < best_load) {
			best = t;
			best_load = load;
		}
	}
	if (x->websocket && g->sockets - leaving >= most_sum)
		best = NULL; /* sockets outlive their exchanges */
	if (one_could)	     /* a WebSocket could wait forever for another one to end */
		*refusal = x->websocket && best == NULL ? FAIL_QUEUE_FULL : FAIL_NONE;
	return best;
}

static void count_socket(struct group *g, const struct exchange *x)
{
	struct socket *s;

	HASH_FIND(hh, g->hub->sockets, x->corr, CORR_BYTES, s);
	if (s != NULL)
		return;
	s = xcalloc(1, sizeof *s);
	memcpy(s->corr, x->corr, CORR_BYTES);
	s->group = g;
	HASH_ADD(hh, g->hub->sockets, corr, CORR_BYTES, s);
	g->sockets++;
	review(g);
}

static void assign(struct group *g, struct tunnel *t, struct exchange *x)
{
	TAILQ_REMOVE(&g->tunnels, t, siblings);
	TAILQ_INSERT_TAIL(&g->tunnels, t, siblings);
	if (x->websocket)
		count_socket(g, x);
	tunnel_take(t, x);
}

static bool has_open_tunnel(const struct group *g)
{
	const struct tunnel *t;

	TAILQ_FOREACH (t, &g->tunnels, siblings) {
		if (t->state == TUNNEL_OPEN)
			return true;
	}
	return false;
}

static void wait_for_tunnel(struct exchange *x)
{
	struct hub *h = x->hub;

	deadline_set(&h->offline_waits, &x->offline, h->now_ms + h->config->offline_wait_ms);
}

static void dequeue(struct exchange *x)
{
	struct group *g = x->group;

	TAILQ_REMOVE(&g->queue, x, place);
	x->group = NULL;
	x->holder = NULL;
	g->queued--;
	g->queued_websockets -= x->websocket;
	g->hub->stats.queued--;
	g->hub->unseen_queued -= !g->seen;
	deadline_clear(&g->hub->offline_waits, &x->offline);
}

/* exchange_holder.release */
static void leave_queue(struct exchange *x, enum fail f)
{
	(void)f;
	dequeue(x);
}

static void enqueue(struct group *g, struct exchange *x, bool at_front)
{
	static const struct exchange_holder holder = {.release = leave_queue};

	if (at_front)
		TAILQ_INSERT_HEAD(&g->queue, x, place);
	else
		TAILQ_INSERT_TAIL(&g->queue, x, place);
	exchange_set_state(x, EXCHANGE_QUEUED);
	x->holder = &holder;
	x->group = g;
	g->queued++;
	g->queued_websockets += x->websocket;
	g->hub->stats.queued++;
	g->hub->unseen_queued += !g->seen;
	if (!has_open_tunnel(g))
		wait_for_tunnel(x);
}

/* Once there is a tunnel, callers' WebSockets are assigned or refused; only requests wait. */
static bool may_serve_more(const struct group *g)
{
	const struct tunnel *t;

	if (budget_is_full(g))
		return false; /* no room for responses; throttle_settle() touches the group later */
	if (g->queued_websockets > 0)
		return true;
	TAILQ_FOREACH (t, &g->tunnels, siblings) {
		if (t->state == TUNNEL_OPEN && t->running_count < t->max_running)
			return true;
	}
	return false;
}

/* Looks past the first in the queue only where there is room that it cannot use, with v1 and v2
 * clients on one id. Then each end of a request there costs a search of the whole queue, which
 * is bounded. */
static void dispatch(struct group *g)
{
	struct exchange *x, *next;

	untouch(g);
	for (x = TAILQ_FIRST(&g->queue); x != NULL && may_serve_more(g); x = next) {
		enum fail refusal;
		struct tunnel *t = pick(g, x, &refusal);
		next = TAILQ_NEXT(x, place); /* x alone can leave the queue here */
		if (refusal != FAIL_NONE) {
			exchange_fail(x, refusal);
		} else if (t != NULL) {
			dequeue(x);
			assign(g, t, x);
		}
	}
}

void group_settle(struct hub *h)
{
	struct group *g;

	while ((g = TAILQ_FIRST(&h->dirty_groups)) != NULL)
		dispatch(g);
}

/* Callers' WebSockets of an id, the new one included: exchanges, or sockets that outlive them. */
static size_t websockets_of(const struct group *g)
{
	return g->websockets > g->sockets + 1 ? g->websockets : g->sockets + 1;
}

enum fail group_accept(struct group *g, struct exchange *x)
{
	struct hub *h = g->hub;
	enum fail refusal;
	bool fresh = h->now_ms - h->started_ms < FRESH_MS;

	if (g->dirty)
		dispatch(g); /* the queue goes first */
	if (budget_is_full(g))
		return FAIL_OVERLOADED;
	if (x->websocket &&
	    websockets_of(g) > WEBSOCKETS_TUNNELS * (size_t)h->config->max_websockets)
		return FAIL_QUEUE_FULL;
	struct tunnel *t = pick(g, x, &refusal);
	if (t != NULL) {
		assign(g, t, x);
		return FAIL_NONE;
	}
	if (refusal != FAIL_NONE)
		return refusal;
	if (!has_open_tunnel(g)) {
		if (!g->seen && !fresh)
			return FAIL_TUNNEL_UNKNOWN;
		if (h->config->offline_wait_ms == 0)
			return FAIL_TUNNEL_OFFLINE;
		/* Not tunnel-unknown: this broker has not been up long enough to know. */
		if (!g->seen && h->unseen_queued >= UNSEEN_QUEUED_MAX)
			return FAIL_QUEUE_FULL;
	}
	if (g->queued >= (size_t)h->config->max_queue_depth)
		return FAIL_QUEUE_FULL;
	enqueue(g, x, false);
	return FAIL_NONE;
}

/* Its queue does not count for the limit of unknown ids any more. */
static void mark_seen(struct group *g)
{
	if (!g->seen)
		g->hub->unseen_queued -= g->queued;
	g->seen = true;
}

void group_expect_tunnel(struct group *g)
{
	struct hub *h = g->hub;

	mark_seen(g);
	if (g->idle) { /* the head is for ids never seen, which are forgotten first */
		TAILQ_REMOVE(&h->idle_groups, g, idle_link);
		TAILQ_INSERT_TAIL(&h->idle_groups, g, idle_link);
	}
}

void group_review_presence(struct group *g)
{
	struct presence_observer *o = g->hub->observer;
	bool online = has_open_tunnel(g);
	struct exchange *x;

	if (online == g->online)
		return;
	g->online = online;
	if (online)
		mark_seen(g);
	TAILQ_FOREACH (x, &g->queue, place) {
		if (online)
			deadline_clear(&g->hub->offline_waits, &x->offline);
		else if (x->offline.at_ms == 0)
			wait_for_tunnel(x);
	}
	if (o != NULL && online)
		o->online(o, g->id);
	else if (o != NULL)
		o->offline(o, g->id);
}

void group_return(struct group *g, struct exchange *x)
{
	group_socket_closed(g->hub, x->corr);
	enqueue(g, x, true);
	group_touch(g);
}

void group_socket_unsent(struct hub *h, const uint8_t corr[CORR_BYTES], size_t bytes)
{
	struct socket *s;

	HASH_FIND(hh, h->sockets, corr, CORR_BYTES, s);
	if (s != NULL)
		budget_charge(s->group, &s->unsent_bytes, bytes);
}

void group_socket_closed(struct hub *h, const uint8_t corr[CORR_BYTES])
{
	struct socket *s;

	HASH_FIND(hh, h->sockets, corr, CORR_BYTES, s);
	if (s == NULL)
		return;
	budget_charge(s->group, &s->unsent_bytes, 0);
	HASH_DEL(h->sockets, s);
	s->group->sockets--;
	review(s->group);
	free(s);
}
