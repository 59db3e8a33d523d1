/* client/connect_queue.c - see connect_queue.h. */
#include "client/connect_queue.h"

#include "common/check.h"

#include <stdlib.h>

TAILQ_HEAD(entry_list, connect_entry);

struct connect_queue {
	uv_loop_t *loop;
	struct entry_list waiting; /* oldest first */
	size_t attempt_count;
	uv_idle_t next_turn; /* active: process `waiting` in the next turn */
	uv_timer_t timer;    /* active while an entry waits for longer than a turn */
	int open_handles;
};

static void on_next_turn(uv_idle_t *idle);

static void stop_waiting(struct connect_entry *e)
{
	TAILQ_REMOVE(&e->queue->waiting, e, link);
	e->state = CONNECT_OUT;
}

static void on_timer(uv_timer_t *timer)
{
	struct connect_queue *q = timer->data;
	uint64_t now_ms = uv_now(q->loop);
	struct connect_entry *e;

	while ((e = TAILQ_FIRST(&q->waiting)) != NULL &&
	       now_ms - e->since_ms >= CONNECT_QUEUE_WAIT_MS) {
		stop_waiting(e);
		e->events->expired(e->ctx);
	}
	if (e != NULL)
		uv_timer_start(timer, on_timer, e->since_ms + CONNECT_QUEUE_WAIT_MS - now_ms, 0);
}

static void on_next_turn(uv_idle_t *idle)
{
	struct connect_queue *q = idle->data;
	struct connect_entry *e;

	uv_idle_stop(idle);
	while ((e = TAILQ_FIRST(&q->waiting)) != NULL) {
		if (e->events->reuse != NULL && e->events->reuse(e->ctx))
			continue; /* it has left the queue, and may be freed */
		if (q->attempt_count >= CONNECT_QUEUE_ATTEMPTS_MAX)
			break;
		stop_waiting(e);
		e->state = CONNECT_ATTEMPT;
		q->attempt_count++;
		e->events->connect(e->ctx);
	}
	if (e != NULL && !uv_is_active((uv_handle_t *)&q->timer))
		uv_timer_start(&q->timer, on_timer, CONNECT_QUEUE_WAIT_MS, 0);
}

void connect_queue_join(struct connect_queue *q, struct connect_entry *e,
			const struct connect_events *events, void *ctx)
{
	e->queue = q;
	e->events = events;
	e->ctx = ctx;
	e->since_ms = uv_now(q->loop);
	e->state = CONNECT_WAITING;
	TAILQ_INSERT_TAIL(&q->waiting, e, link);
	uv_idle_start(&q->next_turn, on_next_turn);
}

void connect_queue_leave(struct connect_entry *e)
{
	if (e->state == CONNECT_WAITING) {
		stop_waiting(e);
	} else if (e->state == CONNECT_ATTEMPT) {
		e->state = CONNECT_OUT;
		e->queue->attempt_count--;
		if (!TAILQ_EMPTY(&e->queue->waiting))
			uv_idle_start(&e->queue->next_turn, on_next_turn);
	}
}

/* --- start and end --- */

struct connect_queue *connect_queue_new(uv_loop_t *loop)
{
	struct connect_queue *q = xcalloc(1, sizeof *q);

	q->loop = loop;
	TAILQ_INIT(&q->waiting);
	CHECK(uv_idle_init(loop, &q->next_turn) == 0 && uv_timer_init(loop, &q->timer) == 0);
	q->next_turn.data = q->timer.data = q;
	return q;
}

static void handle_closed(uv_handle_t *handle)
{
	struct connect_queue *q = handle->data;

	if (--q->open_handles == 0)
		free(q);
}

void connect_queue_destroy(struct connect_queue **qp)
{
	struct connect_queue *q = *qp;

	*qp = NULL;
	if (q == NULL)
		return;
	q->open_handles = 2;
	uv_close((uv_handle_t *)&q->next_turn, handle_closed);
	uv_close((uv_handle_t *)&q->timer, handle_closed);
}
