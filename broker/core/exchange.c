/* broker/core/exchange.c - One request and its answer, from OPEN to its one end. See hub.h. */
#include "broker/core/core.h"
#include "broker/core/v1_request.h"
#include "common/head.h"
#include "common/id.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

enum {
	HOLD_MAX_MS = 10000,
	LINGER_MS = 30000, /* an ended exchange waits so long for its responder to ask */
	/* A responder that holds more of a response is given no more. */
	UNSENT_MAX_BYTES = 64 * 1024,
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
	exchange_log_state(x, exchange_state_name(to));
	x->state = to;
}

bool exchange_is_over(const struct exchange *x)
{
	return x->state >= EXCHANGE_FAILED;
}

void exchange_mark_sent(struct exchange *x)
{
	exchange_set_state(x, EXCHANGE_SENT);
	x->sent = true;
}

void exchange_mark_unserved(struct exchange *x)
{
	x->unserved = !x->head_came; /* whoever has sent a response has served it */
}

bool exchange_maybe_delivered(const struct exchange *x)
{
	return x->sent && !x->unserved;
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

static void drop_bodies(struct exchange *x)
{
	buf_fini(&x->head);
	buf_fini(&x->up);
	buf_fini(&x->answer_head);
	buf_fini(&x->down);
	x->granted_bytes = 0;
	exchange_recount(x);
}

void exchange_recount(struct exchange *x)
{
	budget_charge(x->home, &x->held_bytes,
		      x->head.end + x->up.end + x->granted_bytes + x->answer_head.end +
			      x->down.end);
}

bool exchange_on_stream(const struct exchange *x)
{
	return x->state >= EXCHANGE_ASSIGNED && x->state < EXCHANGE_ANSWERED;
}

static void exchange_free(struct exchange *x)
{
	struct hub *h = x->hub;

	if (x->tunnel != NULL && x->state == EXCHANGE_ANSWERED)
		tunnel_detach(x);
	CHECK(x->tunnel == NULL && x->group == NULL);
	exchange_log_end(x);
	if (x->dirty)
		TAILQ_REMOVE(&h->dirty, x, dirty_link);
	if (x->progress_list != NULL)
		deadline_clear(x->progress_list, &x->progress);
	deadline_clear(&h->holds, &x->hold);
	deadline_clear(&h->offline_waits, &x->offline);
	drop_bodies(x);
	x->home->websockets -= x->websocket;
	group_release(x->home);
	HASH_DEL(h->exchanges, x);
	h->stats.open--;
	h->stats.outcomes[x->fail]++;
	free(x);
}

void exchange_free_all(struct hub *h)
{
	struct exchange *x, *next;

	HASH_ITER (hh, h->exchanges, x, next)
		exchange_free(x);
}

/* The responder waits for a reply from now on. */
static void expect_reply(struct exchange *x, const struct gate_peer *peer, const struct gate_msg *m)
{
	int64_t hold_ms = m->number < HOLD_MAX_MS ? m->number : HOLD_MAX_MS;

	x->peer = *peer;
	x->reply_due = true;
	x->hold_over = hold_ms == 0;
	if (hold_ms > 0)
		deadline_set(&x->hub->holds, &x->hold, x->hub->now_ms + hold_ms);
	exchange_touch(x);
}

/* Takes a piece of the request body in. False: more than is allowed, the exchange has failed. */
static bool take_body(struct exchange *x, const struct gate_msg *m)
{
	int64_t limit = x->websocket ? 0 : x->hub->config->max_body_bytes;

	if (x->up_end)
		return true; /* nothing can follow the end */
	size_t granted = m->body_bytes < x->granted_bytes ? m->body_bytes : x->granted_bytes;
	x->granted_bytes -= granted;
	x->up_bytes += (int64_t)m->body_bytes;
	x->hub->stats.request_bytes += m->body_bytes;
	if (limit > 0 && x->up_bytes > limit) {
		exchange_fail(x, FAIL_BODY_TOO_LARGE);
		return false;
	}
	x->up_end = (m->flags & GATE_BODY_END) != 0;
	if (x->up_end || x->down_end)
		x->granted_bytes = 0;
	if (!x->down_end && (!budget_admits(x->home, m->body_bytes - granted) ||
			     !buf_try_append(&x->up, m->body, m->body_bytes))) {
		exchange_fail(x, FAIL_OVERLOADED);
		return false;
	}
	exchange_recount(x);
	return true;
}

static bool open_is_well_formed(const struct gate_msg *m)
{
	return id_connection_valid(m->id, m->id_bytes) && m->head_bytes > 0 &&
	       m->head_bytes <= FRAME_REQUEST_HEAD_MAX_BYTES && m->body_bytes <= GATE_PIECE_BYTES &&
	       head_valid(m->head, m->head_bytes);
}

static struct exchange *exchange_new(struct hub *h, const struct gate_msg *m,
				     const struct buf *head)
{
	struct exchange *x = xcalloc(1, sizeof *x);

	memcpy(x->corr, m->corr, CORR_BYTES);
	x->hub = h;
	x->process = m->process;
	x->websocket = m->process == 0;
	x->opened_ms = h->now_ms;
	x->body_total_bytes = m->flags & GATE_HAS_LENGTH ? (int64_t)m->body_total_bytes : -1;
	x->head = *head;
	x->v1_refusal = v1_request_refusal(buf_first(head), buf_bytes(head));
	x->home = group_get(h, m->id, m->id_bytes);
	exchange_log_open(x, m->head, m->head_bytes);
	x->home->websockets += x->websocket;
	group_hold(x->home);
	x->wants_credit = true;
	HASH_ADD(hh, h->exchanges, corr, CORR_BYTES, x);
	h->stats.open++;
	exchange_recount(x);
	exchange_progress(x);
	return x;
}

void exchange_open(struct hub *h, const struct gate_peer *peer, const struct gate_msg *m)
{
	bool has_length = (m->flags & GATE_HAS_LENGTH) != 0;
	int64_t limit = h->config->max_body_bytes;

	if (!open_is_well_formed(m) || exchange_find(h, m->corr) != NULL) {
		hub_refuse(h, peer, m, FAIL_BAD_REQUEST);
		return;
	}
	if (h->draining) {
		hub_refuse(h, peer, m, FAIL_SHUTTING_DOWN);
		return;
	}
	if (limit > 0 && (m->body_bytes > (uint64_t)limit ||
			  (has_length && m->body_total_bytes > (uint64_t)limit))) {
		hub_refuse(h, peer, m, FAIL_BODY_TOO_LARGE);
		return;
	}

	struct buf head = {0};
	if (!buf_try_append(&head, m->head, m->head_bytes)) {
		hub_refuse(h, peer, m, FAIL_OVERLOADED);
		return;
	}
	struct exchange *x = exchange_new(h, m, &head);
	expect_reply(x, peer, m);
	enum fail refusal = budget_is_full(x->home) ? FAIL_OVERLOADED : FAIL_NONE;
	x->refused = refusal != FAIL_NONE;
	if (refusal == FAIL_NONE && !take_body(x, m))
		return;
	if (refusal == FAIL_NONE)
		refusal = group_accept(x->home, x);
	if (refusal != FAIL_NONE) {
		x->refused = true;
		exchange_fail(x, refusal);
	}
}

void exchange_step(struct exchange *x, const struct gate_peer *peer, const struct gate_msg *m)
{
	deadline_clear(&x->hub->holds, &x->hold);
	if (m->kind == GATE_CANCEL) {
		expect_reply(x, peer, m);
		exchange_fail(x, m->fail < FAIL_COUNT && m->fail ? (enum fail)m->fail
								 : FAIL_CANCELLED);
		return;
	}
	x->wants_credit = m->body_bytes > 0 || x->gave_no_credit;
	expect_reply(x, peer, m);
	if (exchange_is_over(x))
		return;
	bool news = m->body_bytes > 0 || (m->flags & GATE_BODY_END);
	if (m->body_bytes > GATE_PIECE_BYTES) {
		exchange_fail(x, FAIL_BAD_REQUEST);
		return;
	}
	if (news && take_body(x, m)) {
		exchange_progress(x);
		if (exchange_on_stream(x))
			x->tunnel->protocol->more(x->tunnel, x);
	}
}

int64_t exchange_credit_bytes(const struct exchange *x)
{
	if (x->up_end)
		return 0;
	if (exchange_on_stream(x))
		return x->tunnel->protocol->credit(x->tunnel, x);
	return x->down_end ? GATE_PIECE_BYTES : 0; /* answered early: the rest is thrown away */
}

static void fill_failure(const struct exchange *x, struct gate_msg *m)
{
	m->flags = GATE_FAILED;
	m->fail = (uint8_t)x->fail;
	if (!x->refused)
		m->flags |= GATE_ACCEPTED;
	if (exchange_maybe_delivered(x))
		m->flags |= GATE_MAYBE_DELIVERED;
}

static void fill_piece(struct exchange *x, struct gate_msg *m)
{
	if (x->head_came && !x->head_given) {
		m->flags |= GATE_HAS_HEAD;
		m->head = buf_first(&x->answer_head);
		m->head_bytes = buf_bytes(&x->answer_head);
	}
	m->body = buf_first(&x->down);
	m->body_bytes = x->unsent_bytes < UNSENT_MAX_BYTES ? buf_bytes(&x->down) : 0;
	if (m->body_bytes > GATE_PIECE_BYTES)
		m->body_bytes = GATE_PIECE_BYTES;
	if (x->down_end && m->body_bytes == buf_bytes(&x->down))
		m->flags |= GATE_RESPONSE_END;
}

/* What the reply carried is the responder's now. */
static void piece_given(struct exchange *x, const struct gate_msg *m)
{
	if (m->flags & GATE_HAS_HEAD) {
		x->head_given = true;
		buf_fini(&x->answer_head);
	}
	if (m->body_bytes > 0) {
		buf_consume(&x->down, m->body_bytes);
		if (exchange_on_stream(x))
			x->tunnel->protocol->consumed(x->tunnel, x, m->body_bytes);
	}
	exchange_recount(x);
	if ((m->flags & GATE_HAS_HEAD) || m->body_bytes > 0)
		exchange_progress(x); /* an empty reply, when a hold is over, is none */
}

static bool has_something_to_say(struct exchange *x, struct gate_msg *m)
{
	if (exchange_is_over(x)) {
		fill_failure(x, m);
		return true;
	}
	m->number = (uint32_t)exchange_credit_bytes(x);
	bool room = x->unsent_bytes < UNSENT_MAX_BYTES;
	if ((x->head_came && !x->head_given) ||
	    (room && (buf_bytes(&x->down) > 0 || x->down_end))) {
		fill_piece(x, m);
		return true;
	}
	return (x->wants_credit && m->number > 0) || x->hold_over;
}

void exchange_settle(struct exchange *x)
{
	struct hub *h = x->hub;
	struct gate_msg m = {.kind = GATE_REPLY, .boot = h->boot};

	TAILQ_REMOVE(&h->dirty, x, dirty_link);
	x->dirty = false;
	if (x->state == EXCHANGE_ABANDONED) {
		exchange_free(x);
		return;
	}
	if (!x->reply_due || !has_something_to_say(x, &m))
		return;

	memcpy(m.corr, x->corr, CORR_BYTES);
	x->reply_due = false;
	x->gave_no_credit = m.number == 0;
	deadline_clear(&h->holds, &x->hold);
	if (!h->io.reply(h->io.ctx, &x->peer, &m)) {
		exchange_abandon(x);
		return;
	}
	h->stats.response_bytes += m.body_bytes;
	x->log.down_bytes += (int64_t)m.body_bytes;
	if (m.flags & GATE_HAS_HEAD)
		x->head_given = true;
	if (m.flags & (GATE_FAILED | GATE_RESPONSE_END)) {
		exchange_free(x);
		return;
	}
	/* WebSockets are idle for most of their time: theirs is not charged before it comes. */
	x->granted_bytes = x->up_end || x->down_end || x->websocket ? 0 : m.number;
	piece_given(x, &m);
}

void exchange_fail(struct exchange *x, enum fail f)
{
	if (exchange_is_over(x))
		return;
	if (x->tunnel != NULL) {
		if (x->state != EXCHANGE_ANSWERED)
			x->tunnel->protocol->cancel(x->tunnel, x, f);
		tunnel_detach(x);
	} else if (x->group != NULL) {
		group_dequeue(x);
	}
	x->fail = f;
	exchange_set_state(x, EXCHANGE_FAILED);
	drop_bodies(x);
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
		exchange_abandon(x); /* nobody fetched the end of it */
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
	return took(x, buf_try_append(&x->answer_head, head, bytes));
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
	/* Where its caller has the whole of it at the next hub_settle(), the place is free now. */
	if (x->reply_due && buf_bytes(&x->down) <= GATE_PIECE_BYTES)
		tunnel_detach(x);
	else
		tunnel_answered(x);
	exchange_recount(x);
	exchange_touch(x);
}
