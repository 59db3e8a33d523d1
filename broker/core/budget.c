/* broker/core/budget.c - Bytes held for one connection id: all its requests, responses and
 * tunnels. See hub.h.
 *   0 ......... quiet ......... full ................ limit
 *               |  (7/8)        |   room for one message |
 *
 * Over `full` the sockets of the id's tunnels are not read until its callers have read, and new
 * requests are refused. Slow callers so slow down their own id. Unfinished messages alone could
 * fill the budget, and then nothing would ever be read: so one tunnel at a time, the one with
 * the largest unfinished message, is read nevertheless. There is room for that behind `full`,
 * unless many tunnels were read at once before they could be paused. If nothing comes on it, it
 * is closed, and the next one has its turn. */
#include "broker/core/core.h"

enum {
	STALL_MS = 10000,
	/* Each message costs 1, and 1 more for each 4 KiB: a quarter of a millisecond or so in
	 * all. */
	TURN_COST = 256,
	COST_BYTES = 4096,
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

static size_t full_bytes(const struct hub *h)
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
	return r->held_bytes > full_bytes(r->hub) / 2;
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
	size_t full = full_bytes(r->hub);

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

/* --- who is read --- */

/* Is there room for the rest of its message? */
static bool has_room(const struct group *r, const struct tunnel *t)
{
	return budget_admits(r, budget_message_bytes(t) - t->message_bytes);
}

/* The tunnel with the largest unfinished message. If there is no room for the rest of it, it is
 * chosen nevertheless where unfinished messages are most of what is held: nobody else will give
 * anything back, so one has to be closed. */
static struct tunnel *choose_reader(const struct group *r)
{
	struct tunnel *t, *best = NULL;
	size_t total = 0;

	TAILQ_FOREACH (t, &r->tunnels, siblings) {
		if (!t->unfinished)
			continue;
		total += t->message_bytes;
		if (best == NULL || t->message_bytes > best->message_bytes)
			best = t;
	}
	return best != NULL && (has_room(r, best) || total > full_bytes(r->hub) / 2) ? best : NULL;
}

static void set_paused(struct tunnel *t, bool paused)
{
	if (t->paused == paused || t->socket == NULL)
		return;
	t->paused = paused;
	t->io->pause(t->socket, paused);
}

/* There is credit again for those that got none. */
static void wake_uploads(struct tunnel *t)
{
	struct exchange *x;

	TAILQ_FOREACH (x, &t->running, place)
		exchange_touch(x);
}

static void settle_route(struct group *r)
{
	struct hub *h = r->hub;
	struct tunnel *t;

	bool chosen = false;

	if (!r->full)
		r->reader = NULL;
	else if (r->reader == NULL)
		chosen = (r->reader = choose_reader(r)) != NULL;
	bool reads = r->reader != NULL && has_room(r, r->reader);
	if (chosen || (reads && r->reader->paused))
		deadline_set(&h->stalls, &r->reader->stall, h->now_ms + STALL_MS);
	TAILQ_FOREACH (t, &r->tunnels, siblings) {
		set_paused(t, r->full && !(reads && t == r->reader));
		if (!r->full)
			wake_uploads(t);
	}
	if (!r->full)
		group_dispatch(r);
}

void budget_settle(struct hub *h)
{
	struct group *r;

	while ((r = TAILQ_FIRST(&h->marked_groups)) != NULL) {
		budget_unmark(r);
		settle_route(r);
	}
}

/* --- unfinished messages --- */

static int64_t message_wait_ms(const struct hub *h)
{
	return h->config->response_timeout_ms;
}

void budget_message(struct tunnel *t, size_t bytes, bool unfinished)
{
	struct hub *h = t->hub;

	if (t->state == TUNNEL_DEAD)
		bytes = unfinished = 0;
	if (unfinished && !t->unfinished)
		deadline_set(&h->messages, &t->message, h->now_ms + message_wait_ms(h));
	if (!unfinished)
		deadline_clear(&h->messages, &t->message);
	deadline_clear(&h->stalls, &t->stall);
	t->unfinished = unfinished;
	if (t->home->reader == t) {
		if (unfinished)
			deadline_set(&h->stalls, &t->stall, h->now_ms + STALL_MS);
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

void budget_tick(struct hub *h)
{
	struct deadline *d;

	while ((d = deadline_take_due(&h->messages, h->now_ms)) != NULL) {
		struct tunnel *t = OWNER_OF(d, struct tunnel, message);
		if (t->paused) /* the rest of it may be there, unread */
			deadline_set(&h->messages, &t->message, h->now_ms + message_wait_ms(h));
		else
			tunnel_kill(t, 1008, "message not complete in time");
	}
	while ((d = deadline_take_due(&h->stalls, h->now_ms)) != NULL)
		tunnel_kill(OWNER_OF(d, struct tunnel, stall), 1008,
			    "unfinished message holds the buffer");
}
