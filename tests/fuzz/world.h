/* tests/fuzz/world.h - A hub between stand-ins: responders that wait for replies, and sockets
 * that keep what was sent. No ZeroMQ, no WebSockets, and time is what the test says. CHECKs what
 * must always hold: one reply for each message, counters that add up, nothing left at the end. */
#ifndef PIPEGATE_FUZZ_WORLD_H
#define PIPEGATE_FUZZ_WORLD_H

#include "broker/core/core.h"
#include "common/head.h"
#include "tests/fuzz/fuzz.h"

enum { WORLD_PEERS = 8, WORLD_SOCKETS = 4 };

struct world_peer {
	bool waiting;
	struct gate_msg last; /* the reply; its head and body are those below */
	struct buf head, body;
};

struct world_socket {
	struct world *world;
	struct tunnel *tunnel; /* NULL: not connected */
	bool closing;	       /* the broker has closed it, with: */
	int close_code;
	const char *close_reason;
	bool blocked;	 /* takes nothing now */
	bool paused;	 /* the broker does not read it */
	struct buf sent; /* v2: frames; v1: one message after the other, NUL in between */
	bool in_message;
};

struct world {
	struct presence_observer presence;
	char online[WORLD_SOCKETS][16];	  /* the ids that the observer was told of; "": free */
	struct requester gate, websocket; /* of the last peer, if it asks for one */
	struct config config;
	struct hub *hub;
	struct world_peer peers[WORLD_PEERS];
	struct world_socket sockets[WORLD_SOCKETS];
	int64_t life_ms; /* of the tokens of tunnels to come; 0: without an end */
	bool websockets; /* the last peer asks for callers' WebSockets */
	/* Messages since the hub settled: the broker settles before the next tick. */
	bool gate_news;
};

static inline bool world_reply(const struct reply_to *to, const struct gate_msg *m)
{
	struct world *w = to->requester->websocket
				  ? OWNER_OF(to->requester, struct world, websocket)
				  : OWNER_OF(to->requester, struct world, gate);
	struct world_peer *p = &w->peers[to->data[0]];

	CHECK(p->waiting);
	CHECK(m->kind == GATE_PONG || m->kind == GATE_REPLY);
	CHECK(m->boot == w->hub->boot && gate_msg_bytes(m) <= GATE_MAX_MESSAGE_BYTES);
	p->waiting = false;
	p->last = *m;
	buf_fini(&p->head);
	buf_fini(&p->body);
	buf_append(&p->head, m->head, m->head_bytes);
	buf_append(&p->body, m->body, m->body_bytes);
	p->last.head = buf_first(&p->head);
	p->last.body = buf_first(&p->body);
	return true;
}

/* The place of an id among those online; with "": a free place. */
static inline char *world_online(struct world *w, const char *id)
{
	for (size_t i = 0; i < WORLD_SOCKETS; i++) {
		if (strcmp(w->online[i], id) == 0)
			return w->online[i];
	}
	return NULL;
}

static inline void world_on_online(struct presence_observer *o, const char *id)
{
	struct world *w = OWNER_OF(o, struct world, presence);
	char *place = world_online(w, "");

	CHECK(world_online(w, id) == NULL && place != NULL);
	strcpy(place, id);
}

static inline void world_on_offline(struct presence_observer *o, const char *id)
{
	char *place = world_online(OWNER_OF(o, struct world, presence), id);

	CHECK(place != NULL);
	*place = '\0';
}

static inline void world_flush(void *socket)
{
	static uint8_t piece[TUNNEL_PULL_BYTES];
	struct world_socket *s = socket;
	bool first, final;
	size_t bytes;

	while (!s->blocked && (bytes = tunnel_pull(s->tunnel, piece, &first, &final)) > 0) {
		CHECK(bytes <= sizeof piece && first == !s->in_message);
		buf_append(&s->sent, piece, bytes);
		if (final && tunnel_is_text(s->tunnel))
			buf_append(&s->sent, "", 1);
		s->in_message = !final;
	}
}

static inline void world_close(void *socket, int ws_code, const char *reason, bool cut)
{
	struct world_socket *s = socket;

	(void)cut;
	CHECK(!s->closing && ws_code >= 1000);
	s->close_code = ws_code;
	s->close_reason = reason;
	s->closing = true;
}

static inline void world_pause(void *socket, bool paused)
{
	struct world_socket *s = socket;

	CHECK(!s->closing && paused != s->paused);
	s->paused = paused;
}

static inline void world_init(struct world *w)
{
	*w = (struct world){.config = {.max_body_bytes = 400000,
				       .max_queue_depth = 3,
				       .max_concurrent = 2,
				       .max_tunnels = 3,
				       .max_websockets = 1,
				       .max_buffer_bytes_per_id = 4 << 20,
				       .buffer_bytes = 2 << 20,
				       .v1_message_bytes = 4096,
				       .response_timeout_ms = 20000,
				       .idle_timeout_ms = 15000,
				       .offline_wait_ms = 5000}};
	w->hub = hub_new(&w->config, 1000);
	w->hub->boot = 7;
	w->presence = (struct presence_observer){world_on_online, world_on_offline};
	hub_observe_presence(w->hub, &w->presence);
	w->gate.reply = w->websocket.reply = world_reply;
	w->websocket.websocket = true;
}

/* The responder process that `peer` belongs to. */
static inline uint64_t world_process(const struct world *w, size_t peer)
{
	return w->websockets && peer == WORLD_PEERS - 1 ? 0 : 1 + peer % 2;
}

/* `peer` sends a message to the gate, if it does not wait for a reply. */
static inline void world_send(struct world *w, size_t peer, const struct gate_msg *m)
{
	const struct reply_to from = {.requester = m->process == 0 ? &w->websocket : &w->gate,
				      .data = {(uint8_t)peer}};

	if (w->peers[peer].waiting)
		return;
	w->peers[peer].waiting = m->kind != GATE_ALIVE;
	w->gate_news = true;
	hub_on_gate(w->hub, &from, m);
}

/* A request waits only for tunnels that have no room for it, or cannot carry it. */
static inline void world_check_wait(const struct exchange *x)
{
	const struct tunnel *t;

	if (x->group->full)
		return;
	TAILQ_FOREACH (t, &x->group->tunnels, siblings)
		CHECK(t->state != TUNNEL_OPEN || t->running_count >= t->max_running ||
		      x->websocket || t->protocol->refuses(t, x) != FAIL_NONE);
}

/* The state says where an exchange is, and what is known of it. */
static inline void world_check_state(const struct exchange *x)
{
	bool on_stream = x->state == EXCHANGE_ASSIGNED || x->state == EXCHANGE_SENT ||
			 x->state == EXCHANGE_RESPONDING;

	CHECK(x->state != EXCHANGE_NEW && x->state != EXCHANGE_ABANDONED); /* not between turns */
	CHECK((x->group != NULL) == (x->state == EXCHANGE_QUEUED));
	CHECK(!on_stream || x->tunnel != NULL);
	CHECK(on_stream || x->state == EXCHANGE_ANSWERED || x->tunnel == NULL);
	CHECK((x->holder != NULL) == (x->group != NULL || x->tunnel != NULL));
	CHECK(x->tunnel == NULL || x->tunnel->state != TUNNEL_DEAD);
	CHECK((x->fail != FAIL_NONE) == (x->state == EXCHANGE_FAILED));
	CHECK(x->state != EXCHANGE_QUEUED && x->state != EXCHANGE_ASSIGNED ? true : !x->sent);
	CHECK(x->state != EXCHANGE_SENT || (x->sent && !x->head_came));
	CHECK(x->state != EXCHANGE_RESPONDING || (x->sent && x->head_came && !x->down_end));
	CHECK(x->state != EXCHANGE_ANSWERED || (x->sent && x->down_end));
	CHECK(!x->unserved || (x->state == EXCHANGE_FAILED && !x->head_came));
}

/* What is held for a window, or may still arrive, is what the budget is charged for. */
static inline void world_check_window(const struct exchange *x)
{
	int64_t held = (int64_t)buf_bytes(&x->down), most = FRAME_WINDOW_BYTES;

	CHECK(x->window_charge_bytes >= 0);
	if (x->v2.stream == 0)
		return;
	most += x->window_charge_bytes;
	CHECK(x->v2.flow.window_bytes <= most && x->v2.flow.receive_bytes + held <= most);
}

static inline void world_count(struct world *w)
{
	const struct hub *h = w->hub;
	const struct exchange *x;
	const struct group *r;
	int64_t window_bytes = 0, shares = 0;
	size_t running = 0, tunnels = 0, open = 0, queued = 0, unseen = 0, held = 0, full = 0,
	       sockets = 0;

	for (x = h->exchanges; x != NULL; x = x->hh.next) {
		open++;
		world_check_state(x);
		queued += x->state == EXCHANGE_QUEUED;
		unseen += x->group != NULL && !x->group->seen;
		if (x->group != NULL)
			world_check_wait(x);
		running += x->tunnel != NULL;
		CHECK(x->progress.at_ms != 0); /* whatever happens, it ends */
		CHECK(x->held_bytes == x->head.end + x->up.end + x->granted_bytes +
					       x->response_head.end + x->down.end);
		held += x->held_bytes;
		world_check_window(x);
		window_bytes += x->window_charge_bytes;
	}
	for (size_t i = 0; i < WORLD_SOCKETS; i++) {
		const struct tunnel *t = w->sockets[i].tunnel;
		tunnels += t != NULL && t->state != TUNNEL_DEAD;
		CHECK(t == NULL || t->running_count <= t->max_running);
		CHECK(t == NULL || t->state != TUNNEL_OPEN || world_online(w, t->id) != NULL);
		held += t != NULL ? t->out_charge + t->message_bytes : 0;
		CHECK(t == NULL || t->out_charge == t->out.end + t->v1.body.end);
		CHECK(t == NULL || t->state == TUNNEL_DEAD ||
		      (t->paused == w->sockets[i].paused &&
		       t->paused == (t->home->full && t != t->home->reader && t->group != NULL)));
	}
	for (r = h->groups; r != NULL; r = r->hh.next) {
		full += r->full;
		CHECK(!r->dirty);
		CHECK(r->online == (world_online(w, r->id) != NULL));
		sockets += r->sockets;
		shares += r->windows.used_bytes;
		CHECK(r->tunnel_count <= (size_t)h->config->max_tunnels &&
		      r->greeting_count <= (size_t)h->config->max_tunnels);
	}
	CHECK(h->windows.used_bytes == window_bytes && shares == window_bytes);
	CHECK(window_bytes <= h->windows.total_bytes);
	CHECK(h->stats.held_bytes == held && h->stats.full_ids == full);
	CHECK(h->stats.open == open && h->stats.queued == queued && h->stats.running == running);
	CHECK(TAILQ_EMPTY(&h->dirty_groups) && TAILQ_EMPTY(&h->dirty) &&
	      TAILQ_EMPTY(&h->dirty_tunnels));
	CHECK(sockets <= 1); /* one peer asks for them */
	CHECK(h->stats.tunnels == tunnels && h->unseen_queued == unseen);
}

static inline void world_disconnect(struct world *w, size_t slot)
{
	struct world_socket *s = &w->sockets[slot];

	if (s->tunnel != NULL)
		tunnel_on_closed(s->tunnel, 1006, "gone");
	buf_fini(&s->sent);
	*s = (struct world_socket){0};
}

/* The end of a turn of the loop; then the sockets that the broker has closed are gone. */
static inline void world_settle(struct world *w)
{
	hub_settle(w->hub);
	w->gate_news = false;
	world_count(w);
	for (size_t i = 0; i < WORLD_SOCKETS; i++) {
		if (w->sockets[i].closing)
			world_disconnect(w, i);
	}
	hub_settle(w->hub);
}

/* The caller's WebSocket is gone: its exchange, and its socket. */
static inline void world_close_websocket(struct world *w)
{
	uint8_t corr[CORR_BYTES];

	memset(corr, WORLD_PEERS - 1, sizeof corr);
	if (!w->websockets)
		return;
	hub_abandon(w->hub, corr, FAIL_CANCELLED);
	hub_socket_closed(w->hub, corr);
	w->peers[WORLD_PEERS - 1].waiting = false;
	world_settle(w); /* it says nothing more until that is through */
}

/* Time goes by, and the responders' processes live. The loop turns after each tick. */
static inline void world_later(struct world *w, int64_t ms)
{
	struct gate_msg alive = {.kind = GATE_ALIVE};

	if (w->gate_news)
		world_settle(w);
	hub_set_now(w->hub, w->hub->now_ms + ms);
	for (alive.process = 1; alive.process <= 2; alive.process++)
		hub_on_gate(w->hub, NULL, &alive);
	hub_tick(w->hub);
	world_settle(w);
}

/* The responders' processes die without a word. */
static inline void world_lose_responders(struct world *w)
{
	if (w->gate_news)
		world_settle(w);
	world_close_websocket(w); /* which is none of theirs, but its peer is */
	hub_set_now(w->hub, w->hub->now_ms + 10001);
	hub_tick(w->hub);
	world_settle(w);
	for (size_t i = 0; i < WORLD_PEERS; i++)
		w->peers[i].waiting = false;
}

static inline void world_connect(struct world *w, size_t slot, const struct protocol *protocol,
				 const char *id)
{
	static const struct tunnel_io io = {world_flush, world_close, world_pause};
	struct world_socket *s = &w->sockets[slot];

	if (s->tunnel != NULL)
		return;
	s->world = w;
	const struct tunnel_start start = {
		.protocol = protocol,
		.id = id,
		.life_ms = w->life_ms ? w->life_ms : INT64_MAX / 2,
		.io = &io,
		.socket = s,
	};
	s->tunnel = hub_open_tunnel(w->hub, &start);
}

/* The client of that socket sends a message. */
static inline void world_receive(struct world *w, size_t slot, const void *data, size_t bytes)
{
	struct world_socket *s = &w->sockets[slot];
	uint8_t *message = copy_of(data, bytes);

	if (s->tunnel != NULL)
		tunnel_on_message(s->tunnel, message, bytes);
	free(message);
}

static inline void world_receive_frame(struct world *w, size_t slot, uint8_t type, uint8_t flags,
				       uint32_t stream, const void *payload, size_t bytes)
{
	uint8_t *frame = xmalloc(FRAME_HEADER_BYTES + bytes);

	frame_put_header(frame, type, flags, stream, bytes);
	if (bytes > 0)
		memcpy(frame + FRAME_HEADER_BYTES, payload, bytes);
	world_receive(w, slot, frame, FRAME_HEADER_BYTES + bytes);
	free(frame);
}

/* A HELLO that opens a v2 tunnel. */
static inline void world_hello(struct world *w, size_t slot, const char *streams,
			       const char *window, const char *instance)
{
	struct head hello = {0};

	head_add(&hello, "version", "2");
	head_add(&hello, "max-streams", streams);
	head_add(&hello, "window", window);
	head_add(&hello, "instance", instance);
	world_receive_frame(w, slot, FRAME_HELLO, 0, 0, hello.data, hello.bytes);
	head_fini(&hello);
}

/* HEAD with status 200. */
static inline void world_answer(struct world *w, size_t slot, uint8_t flags, uint32_t stream,
				const char *body, size_t body_bytes)
{
	struct head head = {0};
	struct buf payload = {0};
	uint8_t length[4];

	head_add(&head, ":status", "200");
	put_be32(length, (uint32_t)head.bytes);
	buf_append(&payload, length, 4);
	buf_append(&payload, head.data, head.bytes);
	buf_append(&payload, body, body_bytes);
	world_receive_frame(w, slot, FRAME_HEAD, flags, stream, buf_first(&payload),
			    buf_bytes(&payload));
	head_fini(&head);
	buf_fini(&payload);
}

/* OPEN for `id`, with so many zeros as the first piece of its body. The correlation id is the
 * peer's number, sixteen times. */
static inline void world_open(struct world *w, size_t peer, const char *id, const struct head *head,
			      uint8_t flags, size_t body_bytes)
{
	uint8_t *body = xcalloc(1, body_bytes + 1);
	struct gate_msg m = {.kind = GATE_OPEN,
			     .flags = flags,
			     .number = 10000,
			     .process = world_process(w, peer),
			     .id = id,
			     .id_bytes = strlen(id),
			     .head = head->data,
			     .head_bytes = head->bytes,
			     .body = body,
			     .body_bytes = body_bytes,
			     .body_total_bytes = body_bytes};

	memset(m.corr, (int)peer, sizeof m.corr);
	world_send(w, peer, &m);
	free(body);
}

/* STEP or CANCEL. */
static inline void world_step(struct world *w, size_t peer, uint8_t kind, uint8_t flags,
			      uint32_t number, size_t body_bytes)
{
	uint8_t *body = xcalloc(1, body_bytes + 1);
	struct gate_msg m = {.kind = kind,
			     .flags = flags,
			     .number = number,
			     .process = world_process(w, peer),
			     .boot = w->hub->boot,
			     .body = body,
			     .body_bytes = body_bytes};

	memset(m.corr, (int)peer, sizeof m.corr);
	world_send(w, peer, &m);
	free(body);
}

/* The head of a small request. */
static inline void world_request(struct head *h, const char *method, const char *target)
{
	head_add(h, ":method", method);
	head_add(h, ":target", target);
	head_add(h, "host", "pub.example");
}

/* Nobody says anything more: all that waits gets its reply, and nothing is left. */
static inline void world_fini(struct world *w)
{
	world_settle(w);
	for (size_t i = 0; i < WORLD_SOCKETS; i++) {
		world_disconnect(w, i);
		world_settle(w);
	}
	for (int i = 0; i < 4; i++)
		world_later(w, 15000);
	for (size_t i = 0; i < WORLD_PEERS; i++) {
		CHECK(!w->peers[i].waiting);
		buf_fini(&w->peers[i].head);
		buf_fini(&w->peers[i].body);
	}
	for (int i = 0; i < 4; i++) /* what nobody fetches is forgotten */
		world_later(w, 15000);
	CHECK(!hub_busy(w->hub) && !hub_has_tunnels(w->hub));
	CHECK(w->hub->stats.held_bytes == 0 && w->hub->stats.full_ids == 0);
	hub_destroy(&w->hub);
}

#endif
