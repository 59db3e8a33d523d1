/* broker/core/group.c - Connection ids: which tunnels serve one, and who waits for them. See
 * hub.h.
 *
 * A group exists while a tunnel or an exchange has it as its home, and afterwards for as long as
 * there is room, so that a request for a name that was here before may wait for its client to
 * come back.
 *
 * A request waits only while no tunnel that can carry it has room, and group_dispatch() sees to
 * that after each change. So one that finds room at once overtakes nobody who could have had it. */
#include "broker/core/core.h"

#include <stdlib.h>
#include <string.h>

enum {
	IDLE_ROUTES_MAX = 65536,
	FRESH_MS = 60000, /* after a start any name may be one that is about to come back */
	/* So many requests may wait for names never seen, all together: each takes one of the
	 * responder's slots (1024), and a scan of ids must not take them all. */
	UNSEEN_QUEUED_MAX = 256,
	/* Callers' WebSockets of one id: as many as this number of tunnels may have. Each holds
	 * a descriptor, and ids may have many tunnels. Further ones are refused. */
	WEBSOCKETS_TUNNELS = 4,
};

/* A caller's WebSocket that a tunnel took. */
struct socket {
	UT_hash_handle hh;
	uint8_t corr[CORR_BYTES];
	struct group *group;
	size_t unsent_bytes; /* its caller has not taken: charged to the group */
};

struct group *group_find(struct hub *h, const char *id, size_t bytes)
{
	struct group *r;

	HASH_FIND(hh, h->groups, id, bytes, r);
	return r;
}

struct group *group_get(struct hub *h, const char *id, size_t bytes)
{
	struct group *r = group_find(h, id, bytes);

	if (r != NULL)
		return r;
	CHECK(bytes <= CONNECTION_ID_MAX_BYTES);
	r = xcalloc(1, sizeof *r);
	r->hub = h;
	memcpy(r->id, id, bytes);
	TAILQ_INIT(&r->tunnels);
	TAILQ_INIT(&r->greeting);
	TAILQ_INIT(&r->queue);
	HASH_ADD(hh, h->groups, id, bytes, r);
	r->idle = true;
	TAILQ_INSERT_HEAD(&h->idle_groups, r, idle_link);
	h->idle_group_count++;
	return r;
}

/* Is it on the idle list exactly when nothing uses it? Called after each change. */
static void review(struct group *r)
{
	struct hub *h = r->hub;
	bool idle = r->users == 0 && r->sockets == 0;

	if (idle == r->idle)
		return;
	r->idle = idle;
	if (!idle) {
		TAILQ_REMOVE(&h->idle_groups, r, idle_link);
		h->idle_group_count--;
		return;
	}
	if (r->seen)
		TAILQ_INSERT_TAIL(&h->idle_groups, r, idle_link);
	else
		TAILQ_INSERT_HEAD(&h->idle_groups, r, idle_link);
	h->idle_group_count++;
}

void group_hold(struct group *r)
{
	r->users++;
	review(r);
}

void group_release(struct group *r)
{
	CHECK(r->users > 0);
	r->users--;
	review(r);
}

bool group_may_open_tunnel(const struct group *r)
{
	return r->tunnel_count < (size_t)r->hub->config->max_tunnels;
}

static void forget(struct group *r)
{
	struct hub *h = r->hub;

	CHECK(r->held_bytes == 0 && TAILQ_EMPTY(&r->tunnels) && TAILQ_EMPTY(&r->queue));
	budget_unmark(r);
	TAILQ_REMOVE(&h->idle_groups, r, idle_link);
	h->idle_group_count--;
	HASH_DEL(h->groups, r);
	free(r);
}

void group_forget_idle(struct hub *h)
{
	struct group *r;

	while ((r = TAILQ_FIRST(&h->idle_groups)) != NULL &&
	       (!r->seen || h->idle_group_count > IDLE_ROUTES_MAX))
		forget(r);
}

void group_free_all(struct hub *h)
{
	struct group *r;
	struct socket *s, *next;

	HASH_ITER (hh, h->sockets, s, next)
		group_socket_closed(h, s->corr);
	while ((r = TAILQ_FIRST(&h->idle_groups)) != NULL)
		forget(r);
	CHECK(h->groups == NULL);
}

/* How much of the kind it does already, and how much it may. */
static size_t load_of(const struct tunnel *t, const struct exchange *x, size_t *most)
{
	*most = x->websocket ? (size_t)t->hub->config->max_websockets : t->max_running;
	return x->websocket ? t->websocket_count : t->running_count;
}

/* Fewest running first; among equals the one whose turn is longest ago. NULL: none has room, or
 * every one refuses such a request, and then *refusal says why. */
static struct tunnel *pick(struct group *r, const struct exchange *x, enum fail *refusal)
{
	struct tunnel *t, *best = NULL;
	bool one_could = false;
	size_t best_load = SIZE_MAX, most, most_sum = 0, leaving = 0;

	*refusal = FAIL_NONE;
	TAILQ_FOREACH (t, &r->tunnels, siblings) {
		if (t->state != TUNNEL_OPEN) {
			leaving += t->websocket_count;
			continue;
		}
		enum fail f = t->protocol->refuses(t, x);
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
	if (x->websocket && r->sockets - leaving >= most_sum)
		best = NULL; /* some have no exchange any more, but are still open */
	if (one_could) /* a WebSocket that waited for another one to end would wait for ever */
		*refusal = x->websocket && best == NULL ? FAIL_QUEUE_FULL : FAIL_NONE;
	return best;
}

static void give(struct group *r, struct tunnel *t, struct exchange *x)
{
	TAILQ_REMOVE(&r->tunnels, t, siblings);
	TAILQ_INSERT_TAIL(&r->tunnels, t, siblings);
	tunnel_take(t, x);
}

static bool has_open_tunnel(const struct group *r)
{
	const struct tunnel *t;

	TAILQ_FOREACH (t, &r->tunnels, siblings) {
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

static void enqueue(struct group *r, struct exchange *x, bool at_front)
{
	if (at_front)
		TAILQ_INSERT_HEAD(&r->queue, x, place);
	else
		TAILQ_INSERT_TAIL(&r->queue, x, place);
	exchange_set_state(x, EXCHANGE_QUEUED);
	x->group = r;
	r->queued++;
	r->queued_websockets += x->websocket;
	r->hub->stats.queued++;
	r->hub->unseen_queued += !r->seen;
	if (!has_open_tunnel(r))
		wait_for_tunnel(x);
}

void group_dequeue(struct exchange *x)
{
	struct group *r = x->group;

	CHECK(r != NULL);
	TAILQ_REMOVE(&r->queue, x, place);
	x->group = NULL;
	r->queued--;
	r->queued_websockets -= x->websocket;
	r->hub->stats.queued--;
	r->hub->unseen_queued -= !r->seen;
	deadline_clear(&r->hub->offline_waits, &x->offline);
}

/* Of an id, the one that is asked for included: exchanges, or sockets that outlive theirs. */
static size_t websockets_of(const struct group *r)
{
	return r->websockets > r->sockets + 1 ? r->websockets : r->sockets + 1;
}

enum fail group_accept(struct group *r, struct exchange *x)
{
	struct hub *h = r->hub;
	enum fail refusal;
	bool fresh = h->now_ms - h->started_ms < FRESH_MS;

	if (budget_is_full(r))
		return FAIL_OVERLOADED;
	if (x->websocket &&
	    websockets_of(r) > WEBSOCKETS_TUNNELS * (size_t)h->config->max_websockets)
		return FAIL_QUEUE_FULL;
	struct tunnel *t = pick(r, x, &refusal);
	if (t != NULL) {
		give(r, t, x);
		return FAIL_NONE;
	}
	if (refusal != FAIL_NONE)
		return refusal;
	if (!has_open_tunnel(r)) {
		if (!r->seen && !fresh)
			return FAIL_TUNNEL_UNKNOWN;
		if (h->config->offline_wait_ms == 0)
			return FAIL_TUNNEL_OFFLINE;
		if (!r->seen && h->unseen_queued >= UNSEEN_QUEUED_MAX)
			return FAIL_QUEUE_FULL; /* no word that it is unknown: nobody knows yet */
	}
	if (r->queued >= (size_t)h->config->max_queue_depth)
		return FAIL_QUEUE_FULL;
	enqueue(r, x, false);
	return FAIL_NONE;
}

void group_requeue(struct group *r, struct exchange *x)
{
	enqueue(r, x, true);
}

/* Callers' WebSockets find room or are refused as soon as there is a tunnel: only requests can
 * wait then. */
static bool may_serve_more(const struct group *r)
{
	const struct tunnel *t;

	if (budget_is_full(r))
		return false; /* responses would find no room; budget_settle() comes back */
	if (r->queued_websockets > 0)
		return true;
	TAILQ_FOREACH (t, &r->tunnels, siblings) {
		if (t->state == TUNNEL_OPEN && t->running_count < t->max_running)
			return true;
	}
	return false;
}

/* Looks past the first only where there is room that it cannot use: v1 and v2 clients on one id.
 * Then each request that ends there costs a look at the whole queue, which its bound keeps
 * short. */
void group_dispatch(struct group *r)
{
	struct exchange *x, *next;

	if (r->dispatching)
		return; /* an exchange failed while it was given out: the loop below goes on */
	r->dispatching = true;
	for (x = TAILQ_FIRST(&r->queue); x != NULL && may_serve_more(r); x = next) {
		enum fail refusal;
		struct tunnel *t = pick(r, x, &refusal);
		next = TAILQ_NEXT(x, place); /* nobody else leaves the queue here */
		if (refusal != FAIL_NONE) {
			exchange_fail(x, refusal);
		} else if (t != NULL) {
			group_dequeue(x);
			give(r, t, x);
		}
	}
	r->dispatching = false;
}

/* Those that wait for it count among the never seen no longer. */
static void mark_seen(struct group *r)
{
	if (!r->seen)
		r->hub->unseen_queued -= r->queued;
	r->seen = true;
}

void group_expect_tunnel(struct group *r)
{
	struct hub *h = r->hub;

	mark_seen(r);
	if (r->idle) { /* the unseen ones, which are forgotten first, stand at the head */
		TAILQ_REMOVE(&h->idle_groups, r, idle_link);
		TAILQ_INSERT_TAIL(&h->idle_groups, r, idle_link);
	}
}

void group_add_tunnel(struct group *r, struct tunnel *t)
{
	struct exchange *x;

	t->group = r;
	mark_seen(r);
	TAILQ_INSERT_TAIL(&r->tunnels, t, siblings);
	r->tunnel_count++;
	TAILQ_FOREACH (x, &r->queue, place)
		deadline_clear(&r->hub->offline_waits, &x->offline);
	group_dispatch(r);
}

void group_remove_tunnel(struct tunnel *t)
{
	struct group *r = t->group;

	TAILQ_REMOVE(&r->tunnels, t, siblings);
	r->tunnel_count--;
	t->group = NULL;
	group_tunnel_left(r);
}

void group_socket_opened(struct group *r, const struct exchange *x)
{
	struct socket *s;

	HASH_FIND(hh, r->hub->sockets, x->corr, CORR_BYTES, s);
	if (s != NULL)
		return;
	s = xcalloc(1, sizeof *s);
	memcpy(s->corr, x->corr, CORR_BYTES);
	s->group = r;
	HASH_ADD(hh, r->hub->sockets, corr, CORR_BYTES, s);
	r->sockets++;
	review(r);
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

void group_tunnel_left(struct group *r)
{
	struct exchange *x;

	if (has_open_tunnel(r))
		return;
	TAILQ_FOREACH (x, &r->queue, place) {
		if (x->offline.at_ms == 0)
			wait_for_tunnel(x);
	}
}
