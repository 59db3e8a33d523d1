/* broker/core/budget.c - Bytes held for one connection id: all its requests, responses and tunnels.
 *
 *   0 ......... quiet ......... full ................ limit
 *               |  (7/8)        |   room for one message |
 *
 * This file counts and marks; throttle.c does what follows from it. */
#include "broker/core/core.h"

enum {
	/* Limit on the cost of one id's input in a turn, about a quarter of a millisecond; then
	 * its sockets are not read until the next turn. A message costs 1, and 1 per 4 KiB. */
	TURN_COST = 256,
	COST_BYTES = 4096,
	/* Windows that have grown may have a quarter of what an id may hold. Then many slow callers
	 * do not fill its budget, although each holds a whole window. */
	WINDOW_SHARE = 4,
};

static size_t limit_bytes(const struct hub *h)
{
	return (size_t)h->config->max_buffer_bytes_per_id;
}

/* Room for the largest message, which is read even when the budget is full. */
static size_t message_room_bytes(const struct hub *h)
{
	size_t half = limit_bytes(h) / 2;

	return half < BUDGET_MESSAGE_BYTES ? half : BUDGET_MESSAGE_BYTES;
}

size_t budget_full_bytes(const struct hub *h)
{
	return limit_bytes(h) - message_room_bytes(h);
}

size_t budget_message_bytes(const struct tunnel *t)
{
	size_t room = message_room_bytes(t->hub), most = t->protocol->max_message_bytes;

	return room < most ? room : most;
}

bool budget_is_full(const struct group *r)
{
	return r->full;
}

bool budget_is_tight(const struct group *r)
{
	return r->held_bytes > budget_full_bytes(r->hub) / 2;
}

bool budget_admits(const struct group *r, size_t bytes)
{
	size_t limit = limit_bytes(r->hub);

	return bytes <= limit && r->held_bytes <= limit - bytes;
}

static void mark(struct group *r)
{
	if (!r->marked)
		TAILQ_INSERT_TAIL(&r->hub->marked_groups, r, marked_link);
	r->marked = true;
}

void budget_unmark(struct group *r)
{
	if (r->marked)
		TAILQ_REMOVE(&r->hub->marked_groups, r, marked_link);
	r->marked = false;
}

void budget_charge(struct group *r, size_t *charged, size_t bytes)
{
	size_t full = budget_full_bytes(r->hub);

	if (*charged == bytes)
		return;
	r->held_bytes = r->held_bytes - *charged + bytes;
	r->hub->stats.held_bytes += bytes;
	r->hub->stats.held_bytes -= *charged;
	*charged = bytes;
	bool was_full = r->full;
	r->full = r->held_bytes > (was_full ? full - full / 8 : full);
	r->hub->stats.full_ids += r->full;
	r->hub->stats.full_ids -= was_full;
	if (r->full || was_full)
		mark(r);
}

/* --- unfinished messages --- */

int64_t budget_message_wait_ms(const struct hub *h)
{
	return h->config->response_timeout_ms;
}

void budget_message(struct tunnel *t, size_t bytes, bool unfinished)
{
	struct hub *h = t->hub;

	if (t->state == TUNNEL_DEAD)
		bytes = unfinished = 0;
	if (unfinished && !t->unfinished)
		deadline_set(&h->messages, &t->message, h->now_ms + budget_message_wait_ms(h));
	if (!unfinished)
		deadline_clear(&h->messages, &t->message);
	deadline_clear(&h->stalls, &t->stall);
	t->unfinished = unfinished;
	if (t->home->reader == t) {
		if (unfinished)
			deadline_set(&h->stalls, &t->stall, h->now_ms + BUDGET_STALL_MS);
		else
			t->home->reader = NULL;
	}
	budget_charge(t->home, &t->message_bytes, bytes);
	if (t->home->full)
		mark(t->home);
}

bool budget_spend(struct tunnel *t, size_t bytes)
{
	struct group *r = t->home;

	if (r->turn != r->hub->turn)
		r->turn_cost = 0;
	r->turn = r->hub->turn;
	r->turn_cost += 1 + bytes / COST_BYTES;
	return r->turn_cost > TURN_COST;
}

void budget_new_tunnel(struct tunnel *t)
{
	if (t->home->full)
		mark(t->home);
}

/* --- receive windows --- */

bool budget_admits_window(const struct exchange *x)
{
	return window_budget_admits(&x->hub->windows, &x->home->windows,
				    (int64_t)limit_bytes(x->hub) / WINDOW_SHARE,
				    flow_growth_bytes(&x->v2.flow));
}

void budget_charge_window(struct exchange *x)
{
	if (!flow_is_used(&x->v2.flow)) /* v1, or not assigned yet */
		return;
	window_budget_charge(&x->hub->windows, &x->home->windows, &x->window_charge_bytes,
			     flow_extra_bytes(&x->v2.flow, buf_bytes(&x->down)));
	x->hub->stats.window_bytes = (uint64_t)x->hub->windows.used_bytes;
}
