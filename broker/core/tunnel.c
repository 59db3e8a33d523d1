/* broker/core/tunnel.c - see tunnel.h. What v1 and v2 tunnels have in common. */
#include "broker/core/core.h"
#include "broker/core/v1_response.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

enum { GREETING_MS = 10000 }; /* for the HELLO of a v2 client */

const char *tunnel_state_name(enum tunnel_state s)
{
	static const char *const names[] = {
#define X(name) [TUNNEL_##name] = #name,
		TUNNEL_STATES(X)
#undef X
	};
	return names[s];
}

/* The only door from state to state. */
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

static void refuse_one_more(struct tunnel *t)
{
	t->hub->stats.over_limit_total += t->doom == NULL;
	tunnel_doom(t, 1013, "too many tunnels for this connection id");
}

/* Of those that have not greeted the oldest makes room, as an honest client greets at once. */
static void enter_greeting(struct tunnel *t)
{
	struct group *r = t->home;

	TAILQ_INSERT_TAIL(&r->greeting, t, siblings);
	if (++r->greeting_count > (size_t)t->hub->config->max_tunnels)
		refuse_one_more(TAILQ_FIRST(&r->greeting));
}

static void leave_greeting(struct tunnel *t)
{
	TAILQ_REMOVE(&t->home->greeting, t, siblings);
	t->home->greeting_count--;
}

struct tunnel *tunnel_new(struct hub *h, const struct protocol *protocol, const char *id,
			  int64_t life_ms, const struct tunnel_io *io, void *socket)
{
	struct tunnel *t = xcalloc(1, sizeof *t);

	t->hub = h;
	t->protocol = protocol;
	t->io = io;
	t->socket = socket;
	t->state = TUNNEL_GREETING;
	t->since_ms = h->now_ms;
	t->number = ++h->stats.tunnels_total;
	CHECK(strlen(id) < sizeof t->id);
	strcpy(t->id, id);
	t->expires_ms = h->now_ms + life_ms;
	deadline_set(&h->lives, &t->life,
		     t->expires_ms < h->now_ms + GREETING_MS ? t->expires_ms
							     : h->now_ms + GREETING_MS);
	t->max_running = (size_t)h->config->max_concurrent;
	TAILQ_INIT(&t->running);
	TAILQ_INIT(&t->ready);
	TAILQ_INSERT_TAIL(&h->tunnels, t, all);
	h->stats.tunnels++;
	log_limited_info(t->id, "tunnel.open conn=%s tunnel=%llu protocol=%s", t->id,
			 (unsigned long long)t->number, protocol->name);
	t->home = group_get(h, t->id, strlen(t->id));
	group_hold(t->home);
	group_expect_tunnel(t->home);
	enter_greeting(t);
	protocol->start(t);
	return t;
}

void tunnel_opened(struct tunnel *t)
{
	if (!group_may_open_tunnel(t->home)) {
		refuse_one_more(t);
		return;
	}
	set_state(t, TUNNEL_OPEN);
	deadline_set(&t->hub->lives, &t->life, t->expires_ms);
	leave_greeting(t);
	group_add_tunnel(t->home, t);
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
	group_tunnel_left(t->group);
}

void tunnel_say_goodbye(struct tunnel *t)
{
	if (t->state != TUNNEL_DEAD)
		t->protocol->goodbye(t);
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
	if (!x->ready)
		TAILQ_INSERT_TAIL(&t->ready, x, ready_link);
	x->ready = true;
	tunnel_touch(t);
}

void tunnel_unready(struct tunnel *t, struct exchange *x)
{
	if (x->ready)
		TAILQ_REMOVE(&t->ready, x, ready_link);
	x->ready = false;
}

static size_t *count_of(struct tunnel *t, const struct exchange *x)
{
	return x->websocket ? &t->websocket_count : &t->running_count;
}

void tunnel_take(struct tunnel *t, struct exchange *x)
{
	CHECK(x->tunnel == NULL && x->group == NULL);
	x->tunnel = t;
	exchange_log_take(x, t);
	exchange_set_state(x, EXCHANGE_ASSIGNED);
	TAILQ_INSERT_TAIL(&t->running, x, place);
	*count_of(t, x) += 1;
	t->hub->stats.running++;
	if (x->websocket)
		group_socket_opened(t->group, x);
	exchange_touch(x); /* there may be credit now */
	t->protocol->more(t, x);
}

void tunnel_recount(struct tunnel *t)
{
	budget_charge(t->home, &t->out_charge, t->out.end + t->out_body.end);
}

/* A tunnel spends most of its life with nothing to do, and thousands of them do so at one time. */
static void give_memory_back(struct tunnel *t)
{
	if (TAILQ_EMPTY(&t->running) && buf_bytes(&t->out) == 0)
		buf_fini(&t->out);
	tunnel_recount(t);
}

/* Takes it off without asking who might take the free place. */
static void unlink_exchange(struct tunnel *t, struct exchange *x)
{
	t->protocol->detach(t, x);
	tunnel_unready(t, x);
	TAILQ_REMOVE(&t->running, x, place);
	*count_of(t, x) -= 1;
	t->hub->stats.running--;
	x->tunnel = NULL;
	give_memory_back(t);
}

void tunnel_answered(struct exchange *x)
{
	struct tunnel *t = x->tunnel;

	t->protocol->detach(t, x);
	tunnel_unready(t, x);
}

void tunnel_detach(struct exchange *x)
{
	struct tunnel *t = x->tunnel;

	unlink_exchange(t, x);
	if (t->state == TUNNEL_OPEN)
		group_dispatch(t->group);
}

/* A closing handshake takes seconds if the peer likes, and meanwhile a descriptor. */
static void close_socket(struct tunnel *t, int ws_code, const char *reason)
{
	bool cut = ++t->home->closing_count > (size_t)t->hub->config->max_tunnels;

	t->io->close(t->socket, ws_code, reason, cut);
}

void tunnel_kill(struct tunnel *t, int ws_code, const char *reason)
{
	struct hub *h = t->hub;
	struct group *r = t->group;
	struct exchange *x;

	if (t->state == TUNNEL_DEAD)
		return;
	log_limited_info(t->id,
			 "tunnel.closed conn=%s tunnel=%llu code=%d reason=\"%s\" running=%zu "
			 "websockets=%zu",
			 t->id, (unsigned long long)t->number, ws_code, reason, t->running_count,
			 t->websocket_count);
	if (t->state == TUNNEL_GREETING)
		leave_greeting(t);
	set_state(t, TUNNEL_DEAD);
	deadline_clear(&h->lives, &t->life);
	if (r != NULL)
		group_remove_tunnel(t);
	while ((x = TAILQ_LAST(&t->running, exchange_list)) != NULL) {
		if (x->state == EXCHANGE_ANSWERED) {
			unlink_exchange(x);
		} else if (x->sent) {
			exchange_fail(x, FAIL_TUNNEL_LOST);
		} else { /* the client never saw it: somebody else may serve it */
			unlink_exchange(t, x);
			group_socket_closed(h, x->corr);
			group_requeue(r, x);
		}
	}
	if (r != NULL)
		group_dispatch(r);
	if (t->dirty)
		TAILQ_REMOVE(&h->dirty_tunnels, t, dirty_link);
	t->dirty = false;
	TAILQ_REMOVE(&h->tunnels, t, all);
	TAILQ_INSERT_TAIL(&h->dead_tunnels, t, all);
	h->stats.tunnels--;
	buf_fini(&t->out);
	buf_fini(&t->out_body);
	tunnel_recount(t);
	budget_message(t, 0, false);
	if (t->socket != NULL)
		close_socket(t, ws_code, reason);
}

const char *tunnel_id(const struct tunnel *t)
{
	return t->id;
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
	return budget_spend(t, bytes);
}

size_t tunnel_pull(struct tunnel *t, uint8_t *out, bool *first, bool *final)
{
	size_t bytes = t->state == TUNNEL_DEAD ? 0 : t->protocol->pull(t, out, first, final);

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

/* For small messages, and where there is one thread only. */
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
	t->home->closing_count -= t->state == TUNNEL_DEAD;
	t->socket = NULL;
	tunnel_kill(t, ws_code, reason);
}

void tunnel_free(struct tunnel *t)
{
	CHECK(t->state == TUNNEL_DEAD && t->socket == NULL && TAILQ_EMPTY(&t->running));
	CHECK(t->out_charge == 0 && t->message_bytes == 0);
	TAILQ_REMOVE(&t->hub->dead_tunnels, t, all);
	group_release(t->home);
	free(t);
}
