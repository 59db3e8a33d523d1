/* broker/core/tunnel.c - see tunnel.h and protocol.h. What v1 and v2 tunnels have in common. */
#include "broker/core/core.h"
#include "broker/core/v1_response.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* How long a v2 client may take for its HELLO; then it is closed. */
	GREETING_MS = 10000,
};

const char *tunnel_state_name(enum tunnel_state s)
{
	static const char *const names[] = {
#define X(name) [TUNNEL_##name] = #name,
		TUNNEL_STATES(X)
#undef X
	};
	return names[s];
}

/* The only function that changes the state. */
static void set_state(struct tunnel *t, enum tunnel_state to)
{
	static const bool legal[4][4] = {
		[TUNNEL_GREETING] = {[TUNNEL_OPEN] = true, [TUNNEL_DEAD] = true},
		[TUNNEL_OPEN] = {[TUNNEL_LEAVING] = true, [TUNNEL_DEAD] = true},
		[TUNNEL_LEAVING] = {[TUNNEL_DEAD] = true},
	};

	CHECK(legal[t->state][to]);
	log_debug("tunnel.state conn=%s tunnel=%llu from=%s to=%s", t->id,
		  (unsigned long long)t->number, tunnel_state_name(t->state),
		  tunnel_state_name(to));
	t->state = to;
}

void tunnel_doom(struct tunnel *t, int ws_code, const char *reason)
{
	if (t->doom != NULL)
		return;
	t->doom = reason;
	t->doom_code = ws_code;
	tunnel_touch(t);
}

struct tunnel *tunnel_new(struct hub *h, const struct tunnel_start *start, struct group *home,
			  const struct tunnel_events *events)
{
	struct tunnel *t = xcalloc(1, sizeof *t);

	t->hub = h;
	t->home = home;
	t->events = events;
	t->protocol = start->protocol;
	t->io = start->io;
	t->socket = start->socket;
	t->state = TUNNEL_GREETING;
	t->since_ms = h->now_ms;
	t->number = ++h->stats.tunnels_total;
	CHECK(strlen(start->id) < sizeof t->id);
	strcpy(t->id, start->id);
	if (start->address != NULL)
		snprintf(t->address, sizeof t->address, "%s", start->address);
	t->expires_ms = h->now_ms + start->life_ms;
	deadline_set(&h->lives, &t->life,
		     t->expires_ms < h->now_ms + GREETING_MS ? t->expires_ms
							     : h->now_ms + GREETING_MS);
	t->grant = start->grant;
	t->grant.subject = xstrdup(start->grant.subject ? start->grant.subject : start->id);
	t->grant.jti = xstrdup(start->grant.jti ? start->grant.jti : "");
	t->max_running = (size_t)h->config->max_concurrent;
	if (t->grant.max_running > 0 && t->grant.max_running < h->config->max_concurrent)
		t->max_running = (size_t)t->grant.max_running;
	TAILQ_INIT(&t->running);
	turns_init(&t->turns);
	TAILQ_INSERT_TAIL(&h->tunnels, t, all);
	h->stats.tunnels++;
	log_limited_info(t->id, "tunnel.open conn=%s tunnel=%llu protocol=%s", t->id,
			 (unsigned long long)t->number, t->protocol->name);
	return t;
}

void tunnel_start(struct tunnel *t)
{
	t->protocol->start(t);
}

void tunnel_opened(struct tunnel *t)
{
	if (!t->events->admit(t))
		return;
	set_state(t, TUNNEL_OPEN);
	deadline_set(&t->hub->lives, &t->life, t->expires_ms);
	t->events->opened(t);
	budget_new_tunnel(t);
}

void tunnel_life_over(struct tunnel *t)
{
	if (t->hub->now_ms >= t->expires_ms)
		tunnel_kill(t, 1008, "Token expired");
	else
		tunnel_kill(t, 1002, "no HELLO");
}

void tunnel_leaving(struct tunnel *t)
{
	if (t->state != TUNNEL_OPEN)
		return;
	set_state(t, TUNNEL_LEAVING);
	t->events->leaving(t);
}

void tunnel_say_goodbye(struct tunnel *t)
{
	if (t->state != TUNNEL_DEAD && t->protocol->goodbye != NULL)
		t->protocol->goodbye(t);
}

int64_t tunnel_body_limit(const struct tunnel *t)
{
	int64_t limit = t->hub->config->max_body_bytes;

	return t->grant.max_body_bytes > 0 && (limit == 0 || t->grant.max_body_bytes < limit)
		       ? t->grant.max_body_bytes
		       : limit;
}

void tunnel_touch(struct tunnel *t)
{
	if (t->state == TUNNEL_DEAD)
		return;
	if (!t->dirty)
		TAILQ_INSERT_TAIL(&t->hub->dirty_tunnels, t, dirty_link);
	t->dirty = true;
}

void tunnel_ready(struct tunnel *t, struct exchange *x)
{
	turns_add(&t->turns, &x->turn);
	tunnel_touch(t);
}

struct exchange *tunnel_next(const struct tunnel *t)
{
	struct turn *next = turns_next(&t->turns);

	return next != NULL ? OWNER_OF(next, struct exchange, turn) : NULL;
}

static size_t *count_of(struct tunnel *t, const struct exchange *x)
{
	return x->websocket ? &t->websocket_count : &t->running_count;
}

void tunnel_recount(struct tunnel *t)
{
	budget_charge(t->home, &t->out_charge, t->out.end + t->v1.body.end);
}

/* Frees the buffer of an idle tunnel: there may be thousands of them. */
static void give_memory_back(struct tunnel *t)
{
	if (TAILQ_EMPTY(&t->running) && buf_bytes(&t->out) == 0)
		buf_fini(&t->out);
	tunnel_recount(t);
}

/* The stream is over for the protocol. */
static void leave_stream(struct tunnel *t, struct exchange *x)
{
	if (t->protocol->detach != NULL)
		t->protocol->detach(t, x);
	turns_remove(&x->turn);
}

static void unlink_exchange(struct tunnel *t, struct exchange *x)
{
	leave_stream(t, x);
	TAILQ_REMOVE(&t->running, x, place);
	*count_of(t, x) -= 1;
	t->hub->stats.running--;
	x->tunnel = NULL;
	x->holder = NULL;
	give_memory_back(t);
}

void tunnel_detach(struct exchange *x)
{
	struct tunnel *t = x->tunnel;

	unlink_exchange(t, x);
	t->events->room(t);
}

/* --- exchange_holder --- */

static void on_more(struct exchange *x)
{
	x->tunnel->protocol->more(x->tunnel, x);
}

static int64_t credit_of(const struct exchange *x)
{
	return x->tunnel->protocol->credit(x->tunnel, x);
}

static void on_consumed(struct exchange *x, size_t bytes)
{
	if (x->tunnel->protocol->consumed != NULL)
		x->tunnel->protocol->consumed(x->tunnel, x, bytes);
}

static void release_answered(struct exchange *x, enum fail f)
{
	(void)f;
	tunnel_detach(x);
}

static void on_answered(struct exchange *x)
{
	static const struct exchange_holder holder = {.release = release_answered};

	leave_stream(x->tunnel, x);
	x->holder = &holder;
}

static void release_running(struct exchange *x, enum fail f)
{
	if (f != FAIL_NONE && x->tunnel->protocol->cancel != NULL)
		x->tunnel->protocol->cancel(x->tunnel, x, f);
	tunnel_detach(x);
}

void tunnel_take(struct tunnel *t, struct exchange *x)
{
	static const struct exchange_holder holder = {
		.more = on_more,
		.credit = credit_of,
		.consumed = on_consumed,
		.answered = on_answered,
		.release = release_running,
	};

	CHECK(x->holder == NULL);
	x->holder = &holder;
	x->tunnel = t;
	t->requests++;
	exchange_log_take(x, t);
	exchange_set_state(x, EXCHANGE_ASSIGNED);
	TAILQ_INSERT_TAIL(&t->running, x, place);
	*count_of(t, x) += 1;
	t->hub->stats.running++;
	exchange_touch(x); /* there may be credit now */
	t->protocol->more(t, x);
}

/* --- the end --- */

/* Fails the exchanges that were sent, and returns the others, which another tunnel may serve. */
static void let_go(struct tunnel *t)
{
	struct exchange *x;

	while ((x = TAILQ_LAST(&t->running, exchange_list)) != NULL) {
		if (x->state == EXCHANGE_ANSWERED) {
			unlink_exchange(t, x);
		} else if (x->sent) {
			exchange_fail(x, FAIL_TUNNEL_LOST);
		} else {
			unlink_exchange(t, x);
			t->events->returned(t, x);
		}
	}
}

void tunnel_kill(struct tunnel *t, int ws_code, const char *reason)
{
	struct hub *h = t->hub;

	if (t->state == TUNNEL_DEAD)
		return;
	log_limited_info(t->id,
			 "tunnel.closed conn=%s tunnel=%llu code=%d reason=\"%s\" running=%zu "
			 "websockets=%zu",
			 t->id, (unsigned long long)t->number, ws_code, reason, t->running_count,
			 t->websocket_count);
	set_state(t, TUNNEL_DEAD);
	deadline_clear(&h->lives, &t->life);
	bool cut = t->events->dead(t);
	let_go(t);
	if (t->dirty)
		TAILQ_REMOVE(&h->dirty_tunnels, t, dirty_link);
	t->dirty = false;
	TAILQ_REMOVE(&h->tunnels, t, all);
	TAILQ_INSERT_TAIL(&h->dead_tunnels, t, all);
	h->stats.tunnels--;
	buf_fini(&t->out);
	buf_fini(&t->v1.body);
	tunnel_recount(t);
	budget_message(t, 0, false);
	if (t->socket != NULL)
		t->io->close(t->socket, ws_code, reason, cut);
}

const char *tunnel_id(const struct tunnel *t)
{
	return t->id;
}

const struct tunnel_grant *tunnel_grant_of(const struct tunnel *t)
{
	return &t->grant;
}

bool tunnel_is_text(const struct tunnel *t)
{
	return t->protocol->text;
}

bool tunnel_decodes(const struct tunnel *t)
{
	return t->protocol->decode != NULL;
}

size_t tunnel_message_max_bytes(const struct tunnel *t)
{
	return budget_message_bytes(t);
}

bool tunnel_spend(struct tunnel *t, size_t bytes)
{
	t->in_bytes += bytes;
	return budget_spend(t, bytes);
}

size_t tunnel_pull(struct tunnel *t, uint8_t *out, bool *first, bool *final)
{
	size_t bytes = t->state == TUNNEL_DEAD ? 0 : t->protocol->pull(t, out, first, final);

	t->out_bytes += bytes;
	give_memory_back(t);
	return bytes;
}

void tunnel_on_piece(struct tunnel *t, size_t message_bytes)
{
	budget_message(t, message_bytes, true);
}

void tunnel_on_decoding(struct tunnel *t, size_t message_bytes)
{
	budget_message(t, message_bytes, false);
}

void tunnel_on_decoded(struct tunnel *t, struct v1_response *r)
{
	budget_message(t, 0, false);
	if (t->state != TUNNEL_DEAD)
		t->protocol->on_decoded(t, r);
}

/* For small messages, and for tests. */
static void decode_here(struct tunnel *t, const uint8_t *data, size_t bytes)
{
	struct buf message = {0};
	struct v1_response r;

	if (!buf_try_append(&message, data, bytes)) {
		tunnel_kill(t, 1011, "no memory");
		return;
	}
	t->protocol->decode(&r, &message);
	tunnel_on_decoded(t, &r);
	v1_response_fini(&r);
}

void tunnel_on_message(struct tunnel *t, const uint8_t *data, size_t bytes)
{
	budget_message(t, 0, false);
	if (t->state == TUNNEL_DEAD)
		return;
	if (t->protocol->receive != NULL)
		t->protocol->receive(t, data, bytes);
	else
		decode_here(t, data, bytes);
}

void tunnel_on_closed(struct tunnel *t, int ws_code, const char *reason)
{
	if (t->state == TUNNEL_DEAD)
		t->events->closed(t);
	t->socket = NULL;
	tunnel_kill(t, ws_code, reason);
}

void tunnel_free(struct tunnel *t)
{
	CHECK(t->state == TUNNEL_DEAD && t->socket == NULL && TAILQ_EMPTY(&t->running));
	CHECK(t->out_charge == 0 && t->message_bytes == 0);
	TAILQ_REMOVE(&t->hub->dead_tunnels, t, all);
	free((char *)t->grant.subject);
	free((char *)t->grant.jti);
	free(t);
}
