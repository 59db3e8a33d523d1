/* broker/core/exchange.c - see exchange.h. */
#include "broker/core/core.h"

#include <stdlib.h>

enum {
	/* How long a finished exchange is kept for its responder to collect. */
	LINGER_MS = 30000,
};

struct exchange *exchange_find(struct hub *h, const uint8_t corr[CORR_BYTES])
{
	struct exchange *x;

	HASH_FIND(hh, h->exchanges, corr, CORR_BYTES, x);
	return x;
}

const char *exchange_state_name(enum exchange_state s)
{
	static const char *const names[] = {
#define X(name) [EXCHANGE_##name] = #name,
		EXCHANGE_STATES(X)
#undef X
	};
	return names[s];
}

void exchange_set_state(struct exchange *x, enum exchange_state to)
{
	static const bool legal[EXCHANGE_STATE_COUNT][EXCHANGE_STATE_COUNT] = {
		[EXCHANGE_NEW] = {[EXCHANGE_QUEUED] = true,
				  [EXCHANGE_ASSIGNED] = true,
				  [EXCHANGE_FAILED] = true},
		[EXCHANGE_QUEUED] = {[EXCHANGE_ASSIGNED] = true, [EXCHANGE_FAILED] = true},
		[EXCHANGE_ASSIGNED] = {[EXCHANGE_QUEUED] = true,
				       [EXCHANGE_SENT] = true,
				       [EXCHANGE_FAILED] = true},
		[EXCHANGE_SENT] = {[EXCHANGE_RESPONDING] = true, [EXCHANGE_FAILED] = true},
		[EXCHANGE_RESPONDING] = {[EXCHANGE_ANSWERED] = true, [EXCHANGE_FAILED] = true},
		[EXCHANGE_ANSWERED] = {[EXCHANGE_FAILED] = true},
		[EXCHANGE_FAILED] = {[EXCHANGE_ABANDONED] = true},
	};

	CHECK(legal[x->state][to]);
	exchange_log_state(x, exchange_state_name(x->state), exchange_state_name(to));
	x->state = to;
}

void exchange_mark_sent(struct exchange *x)
{
	exchange_set_state(x, EXCHANGE_SENT);
	x->sent = true;
}

void exchange_mark_unserved(struct exchange *x)
{
	x->unserved = !x->head_came; /* a response proves the opposite */
}

void exchange_touch(struct exchange *x)
{
	if (!x->dirty)
		TAILQ_INSERT_TAIL(&x->hub->dirty, x, dirty_link);
	x->dirty = true;
}

static void set_progress(struct exchange *x, struct deadlines *list, int64_t wait_ms)
{
	if (x->progress_list != NULL)
		deadline_clear(x->progress_list, &x->progress);
	x->progress_list = list;
	deadline_set(list, &x->progress, x->hub->now_ms + wait_ms);
}

void exchange_progress(struct exchange *x)
{
	const struct config *c = x->hub->config;

	if (exchange_is_over(x))
		return;
	if (x->head_came)
		set_progress(x, &x->hub->idle_waits, c->idle_timeout_ms);
	else
		set_progress(x, &x->hub->response_waits, c->response_timeout_ms);
}

static void drop_request(struct exchange *x)
{
	buf_fini(&x->head);
	buf_fini(&x->up);
	x->granted_bytes = 0;
	exchange_recount(x);
}

void exchange_drop_response(struct exchange *x)
{
	buf_fini(&x->response_head);
	buf_fini(&x->down);
	exchange_recount(x);
}

void exchange_recount(struct exchange *x)
{
	budget_charge(x->home, &x->held_bytes,
		      x->head.end + x->up.end + x->granted_bytes + x->response_head.end +
			      x->down.end);
	budget_charge_window(x);
}

void exchange_free(struct exchange *x)
{
	struct hub *h = x->hub;

	CHECK(x->holder == NULL);
	exchange_log_end(x);
	if (x->dirty)
		TAILQ_REMOVE(&h->dirty, x, dirty_link);
	if (x->progress_list != NULL)
		deadline_clear(x->progress_list, &x->progress);
	deadline_clear(&h->holds, &x->hold);
	deadline_clear(&h->gathers, &x->gather);
	deadline_clear(&h->offline_waits, &x->offline);
	drop_request(x);
	exchange_drop_response(x);
	HASH_DEL(h->exchanges, x);
	h->stats.open--;
	free(x);
}

int64_t exchange_credit_bytes(const struct exchange *x)
{
	if (x->up_end)
		return 0;
	if (x->holder != NULL && x->holder->credit != NULL)
		return x->holder->credit(x);
	return x->down_end ? GATE_PIECE_BYTES : 0; /* early response: discards the rest */
}

void exchange_release(struct exchange *x, enum fail f)
{
	if (x->holder != NULL)
		x->holder->release(x, f);
	CHECK(x->holder == NULL);
}

void exchange_fail(struct exchange *x, enum fail f)
{
	if (exchange_is_over(x))
		return;
	/* What the app sent before it was lost still reaches the caller: head, bytes, then a
	 * cut. */
	bool lost = f == FAIL_TARGET_UNREACHABLE || f == FAIL_TUNNEL_LOST;
	exchange_release(x, f);
	x->fail = f;
	exchange_set_state(x, EXCHANGE_FAILED);
	drop_request(x);
	if (!lost)
		exchange_drop_response(x);
	set_progress(x, &x->hub->idle_waits, LINGER_MS);
	exchange_touch(x);
}

void exchange_abandon(struct exchange *x)
{
	exchange_fail(x, FAIL_CANCELLED);
	if (x->state != EXCHANGE_ABANDONED)
		exchange_set_state(x, EXCHANGE_ABANDONED);
	exchange_touch(x);
}

void exchange_idle(struct exchange *x)
{
	if (exchange_is_over(x))
		exchange_abandon(x); /* the failure was never fetched */
	else
		exchange_fail(x, FAIL_IDLE_TIMEOUT);
}

static bool took(struct exchange *x, bool had_memory)
{
	if (!had_memory)
		exchange_fail(x, FAIL_OVERLOADED);
	else
		exchange_recount(x);
	exchange_progress(x);
	exchange_touch(x);
	return had_memory;
}

bool exchange_on_head(struct exchange *x, const void *head, size_t bytes)
{
	CHECK(!x->head_came);
	exchange_set_state(x, EXCHANGE_RESPONDING);
	x->head_came = true;
	exchange_log_head(x, head, bytes);
	return took(x, buf_try_append(&x->response_head, head, bytes));
}

bool exchange_on_data(struct exchange *x, const void *data, size_t bytes)
{
	return took(x, buf_try_append(&x->down, data, bytes));
}

void exchange_on_body(struct exchange *x, struct buf *body)
{
	CHECK(buf_bytes(&x->down) == 0);
	buf_fini(&x->down);
	x->down = *body;
	*body = (struct buf){0};
	(void)took(x, true);
}

void exchange_on_end(struct exchange *x)
{
	exchange_set_state(x, EXCHANGE_ANSWERED);
	x->down_end = true;
	x->granted_bytes = 0;
	buf_fini(&x->up);
	/* If the next reply carries all of it, the place is free now. */
	if (x->reply_due && buf_bytes(&x->down) <= GATE_PIECE_BYTES)
		exchange_release(x, FAIL_NONE);
	else
		x->holder->answered(x);
	exchange_recount(x);
	exchange_touch(x);
}
