/* broker/core/hub.c - see hub.h. The turn of the loop, deadlines, liveness of responders, the
 * drain. */
#include "broker/core/core.h"

#include "common/id.h"
#include "common/log.h"

#include <stdlib.h>

enum {
	/* A responder that sends nothing for this long is dead. It sends ALIVE every 2 s. */
	PROCESS_SILENCE_MS = 10000,
};

/* A responder process that has, or recently had, exchanges here. */
struct process {
	UT_hash_handle hh;
	uint64_t id;
	int64_t heard_ms;
};

struct hub *hub_new(const struct config *config, int64_t now_ms)
{
	struct hub *h = xcalloc(1, sizeof *h);

	h->config = config;
	h->windows.total_bytes = config->buffer_bytes;
	h->boot = id_random_u64();
	h->now_ms = h->started_ms = now_ms;
	TAILQ_INIT(&h->idle_groups);
	TAILQ_INIT(&h->tunnels);
	TAILQ_INIT(&h->dirty);
	TAILQ_INIT(&h->dirty_tunnels);
	TAILQ_INIT(&h->dirty_groups);
	TAILQ_INIT(&h->dead_tunnels);
	TAILQ_INIT(&h->marked_groups);
	return h;
}

static void forget_process(struct hub *h, struct process *p)
{
	HASH_DEL(h->processes, p);
	free(p);
}

void hub_destroy(struct hub **hp)
{
	struct hub *h = *hp;
	struct process *p, *next;

	*hp = NULL;
	if (h == NULL)
		return;
	hub_settle(h);
	CHECK(TAILQ_EMPTY(&h->tunnels) && TAILQ_EMPTY(&h->dead_tunnels));
	hub_end_all(h);
	requester_free_all(h);
	group_free_all(h);
	HASH_ITER (hh, h->processes, p, next)
		forget_process(h, p);
	deadlines_fini(&h->holds);
	deadlines_fini(&h->gathers);
	deadlines_fini(&h->response_waits);
	deadlines_fini(&h->idle_waits);
	deadlines_fini(&h->offline_waits);
	deadlines_fini(&h->lives);
	deadlines_fini(&h->messages);
	deadlines_fini(&h->stalls);
	free(h);
}

void hub_set_now(struct hub *h, int64_t now_ms)
{
	h->now_ms = now_ms;
}

bool hub_busy(const struct hub *h)
{
	return h->exchanges != NULL;
}

static void heard_from(struct hub *h, uint64_t id)
{
	struct process *p;

	HASH_FIND(hh, h->processes, &id, sizeof id, p);
	if (p == NULL) {
		p = xcalloc(1, sizeof *p);
		p->id = id;
		HASH_ADD(hh, h->processes, id, sizeof p->id, p);
	}
	p->heard_ms = h->now_ms;
}

static void reply_plain(const struct hub *h, const struct reply_to *to, const struct gate_msg *m,
			uint8_t kind)
{
	struct gate_msg reply = {.kind = kind};

	memcpy(reply.corr, m->corr, CORR_BYTES);
	requester_reply(h, to, &reply);
}

/* Replies to a message for an exchange that has ended, or that an earlier broker had. */
static void reply_unknown(const struct hub *h, const struct reply_to *to, const struct gate_msg *m)
{
	struct gate_msg reply = {.kind = GATE_REPLY,
				 .flags = GATE_FAILED | GATE_ACCEPTED | GATE_MAYBE_DELIVERED,
				 .fail = FAIL_BROKER_UNAVAILABLE};

	memcpy(reply.corr, m->corr, CORR_BYTES);
	requester_reply(h, to, &reply);
}

void hub_on_gate(struct hub *h, const struct reply_to *to, const struct gate_msg *m)
{
	struct exchange *x;

	if (m->process != 0)
		heard_from(h, m->process);
	switch (m->kind) {
	case GATE_OPEN:
		requester_open(h, to, m);
		break;
	case GATE_STEP:
	case GATE_CANCEL:
		x = m->boot == h->boot ? exchange_find(h, m->corr) : NULL;
		if (x != NULL)
			requester_step(x, to, m);
		else
			reply_unknown(h, to, m);
		break;
	case GATE_PING:
		reply_plain(h, to, m, GATE_PONG);
		break;
	case GATE_ALIVE:
		break;
	default:
		log_limited_warn("", "gate.unknown kind=%u", m->kind);
		requester_refuse(h, to, m, FAIL_BAD_REQUEST);
	}
}

void hub_abandon(struct hub *h, const uint8_t corr[CORR_BYTES], enum fail f)
{
	struct exchange *x = exchange_find(h, corr);

	if (x == NULL)
		return;
	exchange_fail(x, f);
	exchange_abandon(x);
}

void hub_note_unsent(struct hub *h, const uint8_t corr[CORR_BYTES], size_t bytes)
{
	struct exchange *x = exchange_find(h, corr);

	group_socket_unsent(h, corr, bytes); /* it may outlive its exchange */
	if (x == NULL || x->unsent_bytes == bytes)
		return;
	x->unsent_bytes = bytes;
	exchange_touch(x);
}

void hub_socket_closed(struct hub *h, const uint8_t corr[CORR_BYTES])
{
	group_socket_closed(h, corr);
}

struct tunnel *hub_open_tunnel(struct hub *h, const struct tunnel_start *start)
{
	return group_tunnel_open(h, start);
}

size_t hub_close_tunnels_if(struct hub *h, bool (*match)(void *ctx, const struct tunnel *t),
			    void *ctx, int ws_code, const char *reason)
{
	struct tunnel *t;
	size_t count = 0;

	TAILQ_FOREACH (t, &h->tunnels, all) {
		if (t->doom != NULL || !match(ctx, t))
			continue;
		tunnel_doom(t, ws_code, reason);
		count++;
	}
	return count;
}

void hub_observe_presence(struct hub *h, struct presence_observer *o)
{
	h->observer = o;
}

bool hub_is_draining(const struct hub *h)
{
	return h->draining;
}

void hub_note_lag(struct hub *h, int64_t ms)
{
	stats_observe(&h->stats.loop_lag, ms);
}

const struct stats *hub_stats(const struct hub *h)
{
	return &h->stats;
}

void hub_refuse(struct hub *h, const struct reply_to *to, const struct gate_msg *m, enum fail f)
{
	requester_refuse(h, to, m, f);
}

static void end_silent_processes(struct hub *h)
{
	struct process *p, *next_process;
	struct exchange *x, *next;

	HASH_ITER (hh, h->processes, p, next_process) {
		if (h->now_ms - p->heard_ms < PROCESS_SILENCE_MS)
			continue;
		HASH_ITER (hh, h->exchanges, x, next) {
			if (x->process == p->id)
				exchange_abandon(x);
		}
		forget_process(h, p);
	}
}

static void expire_exchanges(struct hub *h)
{
	struct deadline *d;

	while ((d = deadline_take_due(&h->offline_waits, h->now_ms)) != NULL)
		exchange_fail(OWNER_OF(d, struct exchange, offline), FAIL_TUNNEL_OFFLINE);
	while ((d = deadline_take_due(&h->response_waits, h->now_ms)) != NULL)
		exchange_fail(OWNER_OF(d, struct exchange, progress), FAIL_RESPONSE_TIMEOUT);
	while ((d = deadline_take_due(&h->idle_waits, h->now_ms)) != NULL)
		exchange_idle(OWNER_OF(d, struct exchange, progress));
	while ((d = deadline_take_due(&h->holds, h->now_ms)) != NULL) {
		struct exchange *x = OWNER_OF(d, struct exchange, hold);
		x->hold_over = true;
		exchange_touch(x);
	}
}

static void expire_tunnels(struct hub *h)
{
	struct deadline *d;

	while ((d = deadline_take_due(&h->lives, h->now_ms)) != NULL)
		tunnel_life_over(OWNER_OF(d, struct tunnel, life));
}

void hub_tick(struct hub *h)
{
	expire_exchanges(h);
	expire_tunnels(h);
	throttle_tick(h);
	end_silent_processes(h);
}

static void reap_tunnels(struct hub *h)
{
	struct tunnel *t, *next;

	for (t = TAILQ_FIRST(&h->dead_tunnels); t != NULL; t = next) {
		next = TAILQ_NEXT(t, all);
		if (t->socket == NULL)
			group_tunnel_free(t);
	}
}

static bool has_work(const struct hub *h)
{
	return !TAILQ_EMPTY(&h->dirty) || !TAILQ_EMPTY(&h->dirty_groups) ||
	       !TAILQ_EMPTY(&h->dirty_tunnels) || !TAILQ_EMPTY(&h->marked_groups);
}

static void end_gathering(struct hub *h)
{
	struct deadline *d;

	while ((d = deadline_take_due(&h->gathers, h->now_ms)) != NULL) {
		struct exchange *x = OWNER_OF(d, struct exchange, gather);
		x->gather_over = true;
		exchange_touch(x);
	}
}

int64_t hub_settle_due_ms(const struct hub *h)
{
	const struct deadline *first = deadline_first(&h->gathers);

	return first != NULL ? first->at_ms : 0;
}

void hub_settle(struct hub *h)
{
	struct exchange *x;
	struct tunnel *t;

	h->turn++;
	end_gathering(h);
	/* Repeats until all lists are empty: replies free places and credit, writes free credit,
	 * and both free budget. */
	while (has_work(h)) {
		while ((x = TAILQ_FIRST(&h->dirty)) != NULL)
			requester_settle(x);
		group_settle(h);
		while ((t = TAILQ_FIRST(&h->dirty_tunnels)) != NULL) {
			TAILQ_REMOVE(&h->dirty_tunnels, t, dirty_link);
			t->dirty = false;
			if (t->doom != NULL)
				tunnel_kill(t, t->doom_code, t->doom);
			else if (t->socket != NULL)
				t->io->flush(t->socket);
		}
		throttle_settle(h);
	}
	reap_tunnels(h);
	group_forget_idle(h);
}

void hub_drain(struct hub *h)
{
	struct tunnel *t;
	struct exchange *x, *next;

	h->draining = true;
	/* Their client cannot come back here. Nothing of them was sent, so a responder takes them
	 * to the next broker. */
	HASH_ITER (hh, h->exchanges, x, next) {
		if (x->state == EXCHANGE_QUEUED && !x->home->online)
			exchange_fail(x, FAIL_SHUTTING_DOWN);
	}
	TAILQ_FOREACH (t, &h->tunnels, all)
		tunnel_say_goodbye(t);
}

void hub_end_all(struct hub *h)
{
	struct exchange *x, *next;

	HASH_ITER (hh, h->exchanges, x, next)
		exchange_fail(x, FAIL_SHUTTING_DOWN);
}

void hub_close_tunnels(struct hub *h)
{
	while (!TAILQ_EMPTY(&h->tunnels))
		tunnel_kill(TAILQ_FIRST(&h->tunnels), 1001, "shutting down");
}

bool hub_has_tunnels(const struct hub *h)
{
	return !TAILQ_EMPTY(&h->tunnels) || !TAILQ_EMPTY(&h->dead_tunnels);
}
