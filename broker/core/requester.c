/* broker/core/requester.c - The requester's side of exchanges: its messages, and the replies to
 * them. */
#include "broker/core/core.h"
#include "broker/core/v1_request.h"
#include "common/head.h"
#include "common/id.h"

#include <stdlib.h>
#include <string.h>

enum {
	/* The longest time that a reply is held back while there is nothing to say. */
	HOLD_MAX_MS = 10000,
	/* A responder that holds more than this of a response is given no more of it. */
	UNSENT_MAX_BYTES = 64 * 1024,
	/* After a piece of BULK_BYTES or more, the next reply waits until there are GATHER_BYTES,
	 * but no longer than GATHER_MS: each message costs both sides a wake-up. */
	BULK_BYTES = 16 * 1024,
	GATHER_BYTES = 128 * 1024,
	GATHER_MS = 2,
};

/* --- messages that make no exchange --- */

void requester_reply(const struct hub *h, const struct reply_to *to, struct gate_msg *m)
{
	m->boot = h->boot;
	/* False: the worker is gone, and it has nothing here. */
	(void)to->requester->reply(to, m);
}

void requester_refuse(struct hub *h, const struct reply_to *to, const struct gate_msg *m,
		      enum fail f)
{
	struct gate_msg reply = {.kind = GATE_REPLY, .flags = GATE_FAILED, .fail = (uint8_t)f};

	h->stats.outcomes[f]++;
	exchange_log_refused(m, f);
	memcpy(reply.corr, m->corr, CORR_BYTES);
	requester_reply(h, to, &reply);
}

/* --- messages --- */

/* Notes that the responder waits for a reply. */
static void expect_reply(struct exchange *x, const struct reply_to *to, const struct gate_msg *m)
{
	int64_t hold_ms = m->number < HOLD_MAX_MS ? m->number : HOLD_MAX_MS;

	x->to = *to;
	x->reply_due = true;
	x->hold_over = hold_ms == 0;
	if (hold_ms > 0)
		deadline_set(&x->hub->holds, &x->hold, x->hub->now_ms + hold_ms);
	exchange_touch(x);
}

/* Accepts a piece of the request body. False: over a limit, and the exchange has failed. */
static bool take_body(struct exchange *x, const struct gate_msg *m)
{
	int64_t limit =
		x->tunnel != NULL ? tunnel_body_limit(x->tunnel) : x->hub->config->max_body_bytes;

	if (x->websocket)
		limit = 0;
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

static struct exchange *exchange_of(struct hub *h, const struct requester *requester,
				    const struct gate_msg *m, const struct buf *head)
{
	struct exchange *x = xcalloc(1, sizeof *x);

	memcpy(x->corr, m->corr, CORR_BYTES);
	x->hub = h;
	x->process = m->process;
	x->websocket = requester->websocket;
	x->opened_ms = h->now_ms;
	x->body_total_bytes = m->flags & GATE_HAS_LENGTH ? (int64_t)m->body_total_bytes : -1;
	x->head = *head;
	x->v1.refusal = v1_request_refusal(buf_first(head), buf_bytes(head));
	x->home = group_get(h, m->id, m->id_bytes);
	exchange_log_open(x, m);
	x->home->websockets += x->websocket;
	group_hold(x->home);
	x->wants_credit = true;
	HASH_ADD(hh, h->exchanges, corr, CORR_BYTES, x);
	h->stats.open++;
	exchange_recount(x);
	exchange_progress(x);
	return x;
}

void requester_open(struct hub *h, const struct reply_to *to, const struct gate_msg *m)
{
	bool has_length = (m->flags & GATE_HAS_LENGTH) != 0;
	int64_t limit = h->config->max_body_bytes;

	if (!open_is_well_formed(m) || exchange_find(h, m->corr) != NULL) {
		requester_refuse(h, to, m, FAIL_BAD_REQUEST);
		return;
	}
	if (h->draining) {
		requester_refuse(h, to, m, FAIL_SHUTTING_DOWN);
		return;
	}
	if (limit > 0 && (m->body_bytes > (uint64_t)limit ||
			  (has_length && m->body_total_bytes > (uint64_t)limit))) {
		requester_refuse(h, to, m, FAIL_BODY_TOO_LARGE);
		return;
	}

	struct buf head = {0};
	if (!buf_try_append(&head, m->head, m->head_bytes)) {
		requester_refuse(h, to, m, FAIL_OVERLOADED);
		return;
	}
	struct exchange *x = exchange_of(h, to->requester, m, &head);
	expect_reply(x, to, m);
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

void requester_step(struct exchange *x, const struct reply_to *to, const struct gate_msg *m)
{
	deadline_clear(&x->hub->holds, &x->hold);
	if (m->kind == GATE_CANCEL) {
		expect_reply(x, to, m);
		exchange_fail(x, m->fail < FAIL_COUNT && m->fail ? (enum fail)m->fail
								 : FAIL_CANCELLED);
		exchange_drop_response(x);
		return;
	}
	x->wants_credit = m->body_bytes > 0 || x->gave_no_credit;
	expect_reply(x, to, m);
	if (exchange_is_over(x))
		return;
	bool news = m->body_bytes > 0 || (m->flags & GATE_BODY_END);
	if (m->body_bytes > GATE_PIECE_BYTES) {
		exchange_fail(x, FAIL_BAD_REQUEST);
		return;
	}
	if (news && take_body(x, m)) {
		exchange_progress(x);
		if (x->holder != NULL && x->holder->more != NULL)
			x->holder->more(x);
	}
}

/* --- replies --- */

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
		m->head = buf_first(&x->response_head);
		m->head_bytes = buf_bytes(&x->response_head);
	}
	m->body = buf_first(&x->down);
	m->body_bytes = x->unsent_bytes < UNSENT_MAX_BYTES ? buf_bytes(&x->down) : 0;
	if (m->body_bytes > GATE_PIECE_BYTES)
		m->body_bytes = GATE_PIECE_BYTES;
	if (x->down_end && !exchange_is_over(x) && m->body_bytes == buf_bytes(&x->down))
		m->flags |= GATE_RESPONSE_END;
}

/* Removes what the reply carried. */
static void piece_given(struct exchange *x, const struct gate_msg *m)
{
	if (m->flags & GATE_HAS_HEAD) {
		x->head_given = true;
		buf_fini(&x->response_head);
	}
	if (m->body_bytes > 0) {
		buf_consume(&x->down, m->body_bytes);
		if (x->holder != NULL && x->holder->consumed != NULL)
			x->holder->consumed(x, m->body_bytes);
	}
	exchange_recount(x);
	if ((m->flags & GATE_HAS_HEAD) || m->body_bytes > 0)
		exchange_progress(x); /* an empty reply is no progress */
}

static bool has_something_to_say(struct exchange *x, struct gate_msg *m)
{
	bool room = x->unsent_bytes < UNSENT_MAX_BYTES, over = exchange_is_over(x);

	if (!over)
		m->number = (uint32_t)exchange_credit_bytes(x);
	if ((x->head_came && !x->head_given && (!over || buf_bytes(&x->response_head) > 0)) ||
	    (room && (buf_bytes(&x->down) > 0 || (x->down_end && !over)))) {
		fill_piece(x, m);
		return true;
	}
	if (over) {
		fill_failure(x, m);
		return true;
	}
	return (x->wants_credit && m->number > 0) || x->hold_over;
}

/* Whether the reply waits for more of a large body. A small event never waits, unless it comes
 * right behind such a body. */
static bool gathers(struct exchange *x)
{
	struct hub *h = x->hub;

	if (!x->gave_bulk || x->gather_over || x->down_end || !x->up_end || exchange_is_over(x) ||
	    buf_bytes(&x->down) >= GATHER_BYTES)
		return false;
	if (x->gather.at_ms == 0)
		deadline_set(&h->gathers, &x->gather, h->now_ms + GATHER_MS);
	return true;
}

/* Frees an exchange whose end was sent, or that was abandoned. */
static void end_exchange(struct exchange *x)
{
	struct group *home = x->home;

	exchange_release(x, FAIL_NONE);
	home->websockets -= x->websocket;
	exchange_free(x);
	group_release(home);
}

void requester_free_all(struct hub *h)
{
	struct exchange *x, *next;

	HASH_ITER (hh, h->exchanges, x, next)
		end_exchange(x);
}

void requester_settle(struct exchange *x)
{
	struct hub *h = x->hub;
	struct gate_msg m = {.kind = GATE_REPLY, .boot = h->boot};

	TAILQ_REMOVE(&h->dirty, x, dirty_link);
	x->dirty = false;
	if (x->state == EXCHANGE_ABANDONED) {
		end_exchange(x);
		return;
	}
	if (!x->reply_due || !has_something_to_say(x, &m) || gathers(x))
		return;

	memcpy(m.corr, x->corr, CORR_BYTES);
	x->reply_due = false;
	x->gave_no_credit = m.number == 0;
	deadline_clear(&h->holds, &x->hold);
	deadline_clear(&h->gathers, &x->gather);
	x->gather_over = false;
	x->gave_bulk = m.body_bytes >= BULK_BYTES && !x->websocket;
	if (!x->to.requester->reply(&x->to, &m)) {
		exchange_abandon(x);
		return;
	}
	h->stats.response_bytes += m.body_bytes;
	x->log.down_bytes += (int64_t)m.body_bytes;
	if (m.flags & GATE_HAS_HEAD)
		x->head_given = true;
	if (m.flags & (GATE_FAILED | GATE_RESPONSE_END)) {
		end_exchange(x);
		return;
	}
	/* A WebSocket is mostly idle, so its credit is not charged in advance. */
	x->granted_bytes = x->up_end || x->down_end || x->websocket ? 0 : m.number;
	piece_given(x, &m);
}
