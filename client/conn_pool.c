/* client/conn_pool.c - see conn_pool.h. */
#include "client/conn_pool.h"

#include "common/check.h"
#include "common/log.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	IDLE_MS = 1000,
	CONNECTIONS_MAX = 512,
	USES_MAX = 100,
	/* For the first connection: an app that closes after each response has closed it by
	 * then. */
	FIRST_REST_MS = 200,
	REST_MS = 20, /* for later connections */
	DISTRUST_LEAST_MS = 60 * 1000,
	DISTRUST_MOST_MS = 60 * 60 * 1000,
};

struct kept {
	TAILQ_ENTRY(kept) link; /* in pool->all, unless it is pool->resting */
	struct conn_pool *pool;
	struct conn *conn;
	unsigned uses;
	uint64_t since_ms;
};

TAILQ_HEAD(kept_list, kept);

struct conn_pool {
	uv_loop_t *loop;
	bool keeps;	      /* --keep-alive */
	uv_timer_t timer;     /* active while `all` is not empty */
	struct kept_list all; /* oldest first */
	size_t count;

	unsigned proven_uses;  /* a connection stayed open after this many */
	struct kept *resting;  /* NULL: none */
	bool was_missed;       /* a request found no connection while it rested */
	uv_timer_t rest_timer; /* active while a connection rests */

	uint64_t distrusted_until_ms, distrust_ms;
	int open_handles;
};

/* Removes it from the pool. The caller owns the connection. */
static struct conn *detach(struct kept *k)
{
	struct conn_pool *p = k->pool;
	struct conn *conn = k->conn;

	if (p->resting == k) {
		p->resting = NULL;
		uv_timer_stop(&p->rest_timer);
	} else {
		TAILQ_REMOVE(&p->all, k, link);
		p->count--;
	}
	free(k);
	return conn;
}

static void discard(struct kept *k)
{
	struct conn *conn = detach(k);

	conn_close(&conn);
}

static void discard_all(struct conn_pool *p)
{
	struct kept *k;

	while ((k = TAILQ_FIRST(&p->all)) != NULL)
		discard(k);
	if (p->resting != NULL)
		discard(p->resting);
}

/* --- trust --- */

bool conn_pool_keeps(const struct conn_pool *p)
{
	return p->keeps && uv_now(p->loop) >= p->distrusted_until_ms;
}

void conn_pool_distrust(struct conn_pool *p, const char *why)
{
	uint64_t now_ms = uv_now(p->loop);

	discard_all(p);
	if (!conn_pool_keeps(p))
		return;
	/* No trouble for as long as the last pause: start again with the shortest. */
	if (p->distrust_ms == 0 || now_ms - p->distrusted_until_ms >= p->distrust_ms)
		p->distrust_ms = DISTRUST_LEAST_MS;
	else if ((p->distrust_ms *= 2) > DISTRUST_MOST_MS)
		p->distrust_ms = DISTRUST_MOST_MS;
	p->distrusted_until_ms = now_ms + p->distrust_ms;
	p->proven_uses = 0;
	log_info("target.not_kept seconds=%llu why=\"%s\"",
		 (unsigned long long)p->distrust_ms / 1000, why);
}

/* Handles activity on an idle connection: the app has closed it, or has sent unexpected bytes. With
 * TLS it may be neither (a session ticket). */
static void on_ready(void *ctx)
{
	struct kept *k = ctx;

	if (!conn_is_quiet(k->conn))
		conn_pool_distrust(k->pool,
				   "a kept connection was closed, or sent unexpected bytes");
}

/* --- timers --- */

static void on_timer(uv_timer_t *timer)
{
	struct conn_pool *p = timer->data;
	uint64_t now_ms = uv_now(p->loop);
	struct kept *first;

	while ((first = TAILQ_FIRST(&p->all)) != NULL && now_ms - first->since_ms >= IDLE_MS)
		discard(first);
	if (first != NULL)
		uv_timer_start(timer, on_timer, first->since_ms + IDLE_MS - now_ms, 0);
}

static void keep(struct conn_pool *p, struct kept *k)
{
	TAILQ_INSERT_TAIL(&p->all, k, link);
	if (++p->count > CONNECTIONS_MAX)
		discard(TAILQ_FIRST(&p->all));
	if (!uv_is_active((uv_handle_t *)&p->timer))
		uv_timer_start(&p->timer, on_timer, IDLE_MS, 0);
}

/* The connection is still open and silent. It is not kept if a request went without it: an app that
 * serves one connection at a time serves no other until we close this one. */
static void on_rested(uv_timer_t *timer)
{
	struct conn_pool *p = timer->data;
	struct kept *k = p->resting;

	if (!conn_is_quiet(k->conn)) {
		conn_pool_distrust(p, "a connection was closed after a response");
		return;
	}
	if (k->uses > p->proven_uses)
		p->proven_uses = k->uses;
	if (p->was_missed) {
		discard(k);
		return;
	}
	p->resting = NULL;
	keep(p, k);
}

/* --- in and out --- */

static bool is_fit(struct conn_pool *p, struct conn *c, unsigned uses)
{
	if (!conn_pool_keeps(p) || uses >= USES_MAX ||
	    (uses > p->proven_uses && p->resting != NULL))
		return false;
	if (conn_is_quiet(c))
		return true;
	conn_pool_distrust(p, "a connection was closed, or sent more, after a response");
	return false;
}

void conn_pool_put(struct conn_pool *p, struct conn **cp, unsigned uses)
{
	static const struct conn_events events = {.ready = on_ready};

	if (!is_fit(p, *cp, uses)) {
		conn_close(cp);
		return;
	}
	struct kept *k = xcalloc(1, sizeof *k);
	k->pool = p;
	k->conn = *cp;
	*cp = NULL;
	k->uses = uses;
	k->since_ms = uv_now(p->loop);
	conn_hand_over(k->conn, &events, k);
	conn_watch(k->conn, true, false);
	if (uses <= p->proven_uses) {
		keep(p, k);
		return;
	}
	p->resting = k;
	p->was_missed = false;
	uv_timer_start(&p->rest_timer, on_rested, p->proven_uses > 0 ? REST_MS : FIRST_REST_MS, 0);
}

struct conn *conn_pool_take(struct conn_pool *p, unsigned *uses)
{
	struct kept *k;

	while ((k = TAILQ_FIRST(&p->all)) != NULL) {
		if (uv_now(p->loop) - k->since_ms >= IDLE_MS) {
			discard(k);
		} else if (conn_is_quiet(k->conn)) {
			*uses = k->uses;
			return detach(k);
		} else {
			conn_pool_distrust(
				p, "a kept connection was closed, or sent unexpected bytes");
		}
	}
	p->was_missed = true;
	return NULL;
}

/* --- start and end --- */

struct conn_pool *conn_pool_new(uv_loop_t *loop, bool keeps)
{
	struct conn_pool *p = xcalloc(1, sizeof *p);

	p->loop = loop;
	p->keeps = keeps;
	TAILQ_INIT(&p->all);
	CHECK(uv_timer_init(loop, &p->timer) == 0 && uv_timer_init(loop, &p->rest_timer) == 0);
	p->timer.data = p->rest_timer.data = p;
	return p;
}

static void timer_closed(uv_handle_t *handle)
{
	struct conn_pool *p = handle->data;

	if (--p->open_handles == 0)
		free(p);
}

void conn_pool_destroy(struct conn_pool **pp)
{
	struct conn_pool *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	discard_all(p);
	p->open_handles = 2;
	uv_close((uv_handle_t *)&p->timer, timer_closed);
	uv_close((uv_handle_t *)&p->rest_timer, timer_closed);
}
