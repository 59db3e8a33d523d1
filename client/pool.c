/* client/pool.c - see pool.h. */
#include "client/pool.h"

#include "common/check.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	IDLE_MS = 1000,
	CONNECTIONS_MAX = 512,
};

struct kept {
	TAILQ_ENTRY(kept) link; /* pool->all */
	struct pool *pool;
	struct wire *wire;
	uint64_t since_ms;
};

TAILQ_HEAD(kept_list, kept);

struct pool {
	uv_loop_t *loop;
	uv_timer_t timer;     /* active while there are any */
	struct kept_list all; /* the one used last is the first */
	size_t count;
};

/* The caller has its wire. */
static struct wire *forget(struct kept *k)
{
	struct wire *wire = k->wire;

	TAILQ_REMOVE(&k->pool->all, k, link);
	k->pool->count--;
	free(k);
	return wire;
}

static void discard(struct kept *k)
{
	struct wire *wire = forget(k);

	wire_close(&wire);
}

/* The app has closed it, or says what nobody asked for. */
static void on_ready(void *ctx)
{
	discard(ctx);
}

static void on_timer(uv_timer_t *timer)
{
	struct pool *p = timer->data;
	uint64_t now_ms = uv_now(p->loop);
	struct kept *last;

	while ((last = TAILQ_LAST(&p->all, kept_list)) != NULL &&
	       now_ms - last->since_ms >= IDLE_MS)
		discard(last);
	if (last != NULL)
		uv_timer_start(timer, on_timer, last->since_ms + IDLE_MS - now_ms, 0);
}

void pool_put(struct pool *p, struct wire **wp)
{
	static const struct wire_events events = {.ready = on_ready};
	struct kept *k = xcalloc(1, sizeof *k);

	k->pool = p;
	k->wire = *wp;
	*wp = NULL;
	k->since_ms = uv_now(p->loop);
	wire_hand_over(k->wire, &events, k);
	wire_watch(k->wire, true, false);
	TAILQ_INSERT_HEAD(&p->all, k, link);
	if (++p->count > CONNECTIONS_MAX)
		discard(TAILQ_LAST(&p->all, kept_list));
	if (!uv_is_active((uv_handle_t *)&p->timer))
		uv_timer_start(&p->timer, on_timer, IDLE_MS, 0);
}

struct wire *pool_take(struct pool *p)
{
	struct kept *k;

	while ((k = TAILQ_FIRST(&p->all)) != NULL) {
		if (uv_now(p->loop) - k->since_ms < IDLE_MS && wire_is_quiet(k->wire))
			return forget(k);
		discard(k);
	}
	return NULL;
}

struct pool *pool_new(uv_loop_t *loop)
{
	struct pool *p = xcalloc(1, sizeof *p);

	p->loop = loop;
	TAILQ_INIT(&p->all);
	CHECK(uv_timer_init(loop, &p->timer) == 0);
	p->timer.data = p;
	return p;
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void pool_destroy(struct pool **pp)
{
	struct pool *p = *pp;
	struct kept *k;

	*pp = NULL;
	if (p == NULL)
		return;
	while ((k = TAILQ_FIRST(&p->all)) != NULL)
		discard(k);
	uv_close((uv_handle_t *)&p->timer, timer_closed);
}
