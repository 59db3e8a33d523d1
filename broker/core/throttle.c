/* broker/core/throttle.c - Who is read while the budget of a connection id is full (budget.c).
 *
 * Over `full` the sockets of the id's tunnels are not read until its callers have read, and new
 * requests are refused. So slow callers slow down their own id. Unfinished messages alone could
 * fill the budget, and then nothing would ever be read: so one tunnel at a time, the one with
 * the largest unfinished message, is read nevertheless. There is room for that above `full`,
 * unless many tunnels were read at once before they could be paused. If nothing arrives on it,
 * it is closed, and the next one is chosen. */
#include "broker/core/core.h"

/* True if the rest of its message fits into the budget. */
static bool has_room(const struct group *r, const struct tunnel *t)
{
	return budget_admits(r, budget_message_bytes(t) - t->message_bytes);
}

/* Chooses the tunnel with the largest unfinished message. If the rest does not fit, it is chosen
 * only where unfinished messages are most of what is held: then nothing else will be freed, and
 * one must be closed. */
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
	return best != NULL && (has_room(r, best) || total > budget_full_bytes(r->hub) / 2) ? best
											    : NULL;
}

static void set_paused(struct tunnel *t, bool paused)
{
	if (t->paused == paused || t->socket == NULL)
		return;
	t->paused = paused;
	t->io->pause(t->socket, paused);
}

/* Lets hub_settle() send the credit that was withheld. */
static void wake_uploads(struct tunnel *t)
{
	struct exchange *x;

	TAILQ_FOREACH (x, &t->running, place)
		exchange_touch(x);
}

static void settle_group(struct group *r)
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
		deadline_set(&h->stalls, &r->reader->stall, h->now_ms + BUDGET_STALL_MS);
	TAILQ_FOREACH (t, &r->tunnels, siblings) {
		set_paused(t, r->full && !(reads && t == r->reader));
		if (!r->full)
			wake_uploads(t);
	}
	if (!r->full)
		group_touch(r);
}

void throttle_settle(struct hub *h)
{
	struct group *r;

	while ((r = TAILQ_FIRST(&h->marked_groups)) != NULL) {
		budget_unmark(r);
		settle_group(r);
	}
}

void throttle_tick(struct hub *h)
{
	struct deadline *d;

	while ((d = deadline_take_due(&h->messages, h->now_ms)) != NULL) {
		struct tunnel *t = OWNER_OF(d, struct tunnel, message);
		if (t->paused) /* the rest may have arrived unread */
			deadline_set(&h->messages, &t->message,
				     h->now_ms + budget_message_wait_ms(h));
		else
			tunnel_kill(t, 1008, "message not complete in time");
	}
	while ((d = deadline_take_due(&h->stalls, h->now_ms)) != NULL)
		tunnel_kill(OWNER_OF(d, struct tunnel, stall), 1008,
			    "unfinished message holds the buffer");
}
