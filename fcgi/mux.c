/* fcgi/mux.c - see mux.h.
 *
 * A restart of the broker loses no request that has not been begun. While the link is closed, a new
 * request waits for it, and then fails as certainly not delivered. A broker that stops refuses new
 * requests: each waits for the next broker too, and so do those after it. */
#include "fcgi/mux.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "fcgi/gate_link.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* How long a request waits for the broker, or for the next one. */
	PARK_MS = 1500,
	/* A larger OPEN is not kept for the next broker: there may be many. */
	KEPT_MAX_BYTES = 64 * 1024,
	ALIVE_MS = 2000, /* see GATE_ALIVE */
	/* The broker's longest hold is 10 s: beyond this a reply is lost. */
	REPLY_MAX_MS = 30000,
	CHECK_MS = 500,	     /* interval of the check for overdue replies */
	ROUNDS = 4,	     /* limit per mux_work() */
	LAST_WORDS_MS = 500, /* for the messages of mux_stop() to leave */
};

/* The mux's state of one ask. */
struct seat {
	enum { SEAT_FREE, SEAT_PARKED, SEAT_WAITING } state;
	bool exchange_open;	  /* an OPEN was sent and no reply has ended it */
	uint8_t corr[CORR_BYTES]; /* of the message it waits for */
	zmq_msg_t parked;	  /* SEAT_PARKED: not sent yet */
	zmq_msg_t open;		  /* the OPEN that was sent, while another broker can have it */
	bool has_open;
	bool open_is_whole; /* it has the whole request body */
	bool was_refused;   /* SEAT_PARKED: by a broker that stops */
	int64_t until_ms;   /* when the mux itself replies */
};

struct mux {
	void *context;
	void *local; /* the ROUTER that the asks connect to */
	struct gate_link *link;
	void (*on_reply)(void *ctx, uint16_t seat);
	void *ctx;
	uint64_t process;
	uint64_t boot; /* of the broker that replied last */
	size_t seat_count;
	struct seat *seats;
	size_t parked, open, waiting;
	bool stopping; /* the broker of this link refuses new exchanges */
	/* False: the last look at this socket found nothing, and the next message makes its
	 * descriptor readable. Sending on the socket may consume that signal. */
	bool look_at_asks, look_at_broker;
	int64_t alive_ms; /* when the next ALIVE is due */
	int64_t check_ms; /* when the next check for overdue replies is due */
	bool put_off;	  /* the check was late; one more follows before any ask fails */
};

/* --- towards the asks --- */

/* A routing id must not begin with a zero byte. */
uint32_t mux_routing_id(uint16_t seat)
{
	return htobe32(0x01000000u | seat);
}

static void send_to_ask(struct mux *m, uint16_t seat, zmq_msg_t *payload)
{
	uint32_t routing_id = mux_routing_id(seat);

	m->look_at_asks = true;
	if (zmq_send(m->local, &routing_id, sizeof routing_id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
	    zmq_send(m->local, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
	    zmq_msg_send(payload, m->local, ZMQ_DONTWAIT) < 0)
		zmq_msg_close(payload); /* the ask was destroyed */
	else
		m->on_reply(m->ctx, seat);
}

static void forget_open(struct seat *s)
{
	if (s->has_open)
		zmq_msg_close(&s->open);
	s->has_open = false;
}

/* Marks the seat as waiting for no reply. `over`: its exchange has ended too. */
static void release_seat(struct mux *m, struct seat *s, bool over)
{
	m->waiting -= s->state == SEAT_WAITING;
	s->state = SEAT_FREE;
	m->open -= over && s->exchange_open;
	s->exchange_open = s->exchange_open && !over;
}

/* Replies to an ask in the broker's place. */
static void reply_failed(struct mux *m, uint16_t seat, enum fail f, uint8_t flags)
{
	struct seat *s = &m->seats[seat];
	struct gate_msg reply = {.kind = GATE_REPLY,
				 .seat = seat,
				 .flags = (uint8_t)(GATE_FAILED | flags),
				 .fail = (uint8_t)f};
	zmq_msg_t payload;

	memcpy(reply.corr, s->corr, CORR_BYTES);
	CHECK(zmq_msg_init_size(&payload, gate_msg_bytes(&reply)) == 0);
	gate_msg_encode(&reply, zmq_msg_data(&payload));
	forget_open(s);
	release_seat(m, s, true);
	send_to_ask(m, seat, &payload);
}

static void reply_unavailable(struct mux *m, uint16_t seat, uint8_t flags)
{
	reply_failed(m, seat, FAIL_BROKER_UNAVAILABLE, flags);
}

/* --- towards the broker --- */

static void keep_open(struct seat *s, zmq_msg_t *payload, bool is_whole)
{
	zmq_msg_init(&s->open);
	CHECK(zmq_msg_copy(&s->open, payload) == 0); /* shares the memory */
	s->has_open = true;
	s->open_is_whole = is_whole;
}

/* Returns true if the message was sent and `payload` is consumed; false if the link is closed, or
 * its broker takes no new exchange, and nothing has changed. */
static bool hand_over(struct mux *m, struct seat *s, const struct gate_msg *g, zmq_msg_t *payload)
{
	uint8_t kind = g->kind, flags = g->flags;

	if (kind == GATE_OPEN && m->stopping)
		return false;
	if (kind != GATE_STEP)
		forget_open(s);
	if (kind == GATE_OPEN && zmq_msg_size(payload) <= KEPT_MAX_BYTES)
		keep_open(s, payload, (flags & GATE_BODY_END) != 0);
	m->look_at_broker = true;
	if (!gate_link_send(m->link, payload)) {
		forget_open(s);
		return false;
	}
	s->state = SEAT_WAITING;
	s->until_ms = clock_now_ms() + REPLY_MAX_MS;
	m->waiting++;
	if (kind == GATE_OPEN && !s->exchange_open) {
		s->exchange_open = true;
		m->open++;
	}
	return true;
}

static void park(struct mux *m, struct seat *s, zmq_msg_t *payload, bool was_refused)
{
	zmq_msg_init(&s->parked);
	zmq_msg_move(&s->parked, payload);
	s->state = SEAT_PARKED;
	s->was_refused = was_refused;
	s->until_ms = clock_now_ms() + PARK_MS;
	m->parked++;
}

static void from_ask(struct mux *m, zmq_msg_t *payload)
{
	struct gate_msg g;

	CHECK(gate_msg_decode(zmq_msg_data(payload), zmq_msg_size(payload), &g));
	CHECK(g.seat < m->seat_count);
	struct seat *s = &m->seats[g.seat];
	memcpy(s->corr, g.corr, CORR_BYTES);
	if (hand_over(m, s, &g, payload))
		return;
	if (g.kind == GATE_OPEN || g.kind == GATE_PING) {
		park(m, s, payload, g.kind == GATE_OPEN && m->stopping);
		return;
	}
	zmq_msg_close(payload); /* its exchange was lost with the broker */
	reply_unavailable(m, g.seat, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

/* Receives the last part of a message, which is the one after the routing id and "". Returns false
 * if there is no message. */
static bool receive_from_asks(struct mux *m, zmq_msg_t *payload)
{
	do {
		if (zmq_msg_recv(payload, m->local, ZMQ_DONTWAIT) < 0) {
			m->look_at_asks = errno != EAGAIN;
			return false;
		}
	} while (zmq_msg_more(payload));
	return true;
}

static void drain_asks(struct mux *m)
{
	zmq_msg_t payload;

	zmq_msg_init(&payload);
	while (receive_from_asks(m, &payload)) {
		from_ask(m, &payload);
		zmq_msg_init(&payload);
	}
	zmq_msg_close(&payload);
}

/* Returns the seat that waits for this reply; NULL: none does. */
static struct seat *seat_of(struct mux *m, zmq_msg_t *payload, struct gate_msg *g)
{
	if (!gate_msg_decode(zmq_msg_data(payload), zmq_msg_size(payload), g) ||
	    g->seat >= m->seat_count)
		return NULL;
	struct seat *s = &m->seats[g->seat];
	return s->state == SEAT_WAITING && memcmp(g->corr, s->corr, CORR_BYTES) == 0 ? s : NULL;
}

/* True if the broker stops and has sent nothing of the exchange to a tunnel. */
static bool is_for_the_next_broker(const struct seat *s, const struct gate_msg *g)
{
	return s->has_open && (g->flags & GATE_FAILED) && g->fail == FAIL_SHUTTING_DOWN &&
	       !(g->flags & GATE_MAYBE_DELIVERED);
}

static void take_back(struct mux *m, struct seat *s)
{
	zmq_msg_t open;

	zmq_msg_init(&open);
	zmq_msg_move(&open, &s->open);
	s->has_open = false;
	release_seat(m, s, true);
	park(m, s, &open, true);
}

static void from_broker(struct mux *m, zmq_msg_t *payload)
{
	struct gate_msg g;
	struct seat *s = seat_of(m, payload, &g);

	if (s == NULL) {
		log_limited_warn("", "gate.reply_ignored bytes=%zu", zmq_msg_size(payload));
		zmq_msg_close(payload);
		return;
	}
	m->boot = g.boot;
	if (is_for_the_next_broker(s, &g)) {
		m->stopping = true;
		take_back(m, s);
		zmq_msg_close(payload);
		return;
	}
	/* An empty reply says that nothing has come yet: the request may still be waiting. */
	if (!s->open_is_whole || g.flags != 0 || g.body_bytes > 0)
		forget_open(s);
	release_seat(m, s, (g.flags & (GATE_FAILED | GATE_RESPONSE_END)) != 0);
	send_to_ask(m, g.seat, payload);
}

static void drain_broker(struct mux *m)
{
	zmq_msg_t payload;

	zmq_msg_init(&payload);
	while (gate_link_receive(m->link, &payload)) {
		from_broker(m, &payload);
		zmq_msg_init(&payload);
	}
	m->look_at_broker = errno != EAGAIN;
	zmq_msg_close(&payload);
}

/* --- the link --- */

static void retry_parked(struct mux *m, bool give_up_due)
{
	int64_t now = clock_now_ms();

	for (uint16_t i = 0; m->parked > 0 && i < m->seat_count; i++) {
		struct seat *s = &m->seats[i];
		struct gate_msg g;
		if (s->state != SEAT_PARKED)
			continue;
		CHECK(gate_msg_decode(zmq_msg_data(&s->parked), zmq_msg_size(&s->parked), &g));
		if (hand_over(m, s, &g, &s->parked)) {
			m->parked--;
		} else if (give_up_due && now >= s->until_ms) {
			zmq_msg_close(&s->parked);
			m->parked--;
			reply_failed(m, i,
				     s->was_refused ? FAIL_SHUTTING_DOWN : FAIL_BROKER_UNAVAILABLE,
				     0);
		}
	}
}

static void on_link_opened(void *ctx)
{
	struct mux *m = ctx;

	m->stopping = false;
	retry_parked(m, false);
}

static void on_link_lost(void *ctx)
{
	struct mux *m = ctx;

	drain_broker(m); /* messages sent before the link was lost */
	m->stopping = false;
	for (uint16_t i = 0; i < m->seat_count; i++) {
		struct seat *s = &m->seats[i];
		if (s->state == SEAT_WAITING)
			reply_unavailable(m, i, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	}
}

static void say_alive(struct mux *m)
{
	struct gate_msg g = {.kind = GATE_ALIVE, .process = m->process};
	int64_t now = clock_now_ms();

	if (m->open == 0 || !gate_link_is_open(m->link) || now < m->alive_ms)
		return;
	m->alive_ms = now + ALIVE_MS;
	m->look_at_broker = true;
	gate_link_notify(m->link, &g);
}

/* Replies to asks that are overdue; the broker's longest hold is much shorter, so no ask waits
 * forever even if a reply is lost. After a stall of this process, replies may still be in flight in
 * ZeroMQ's thread. */
static void reply_overdue(struct mux *m, int64_t now)
{
	char corr_hex[2 * CORR_BYTES + 1];

	m->put_off = !m->put_off && now - m->check_ms >= CHECK_MS;
	m->check_ms = now + CHECK_MS;
	if (m->put_off)
		return;
	for (uint16_t i = 0; i < m->seat_count; i++) {
		struct seat *s = &m->seats[i];
		if (s->state != SEAT_WAITING || now < s->until_ms)
			continue;
		id_to_hex(s->corr, CORR_BYTES, corr_hex);
		log_limited_error("", "gate.no_reply seat=%u corr=%s", i, corr_hex);
		reply_unavailable(m, i, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	}
}

int mux_timeout_ms(const struct mux *m)
{
	if (m->look_at_asks || m->look_at_broker)
		return 0;
	if (m->parked > 0)
		return 20;
	return m->open > 0 || m->waiting > 0 ? CHECK_MS : -1;
}

void mux_woken(struct mux *m)
{
	m->look_at_asks = m->look_at_broker = true;
}

void mux_asked(struct mux *m)
{
	m->look_at_asks = true;
}

void mux_work(struct mux *m)
{
	int64_t now = clock_now_ms();
	bool check_due = m->waiting > 0 && now >= m->check_ms;

	say_alive(m);
	gate_link_work(m->link);
	if (m->parked > 0)
		retry_parked(m, true);
	if (check_due)
		mux_woken(m);
	/* A reply can cause a new ask, and each message that is sent calls for one more look. Under
	 * load a round takes longer than the next replies, so the rounds are limited. */
	for (int i = 0; i < ROUNDS && (m->look_at_asks || m->look_at_broker); i++) {
		if (m->look_at_broker)
			drain_broker(m);
		if (m->look_at_asks)
			drain_asks(m);
	}
	if (check_due) /* received replies were handled first */
		reply_overdue(m, now);
}

void mux_watch(struct mux *m, int epoll_fd, void *data)
{
	gate_link_watch_socket(m->local, epoll_fd, data);
	gate_link_watch(m->link, epoll_fd, data);
}

/* --- start and end --- */

static bool open_local(struct mux *m)
{
	int handover = 1, linger_ms = 0;

	m->local = zmq_socket(m->context, ZMQ_ROUTER);
	return m->local != NULL &&
	       zmq_setsockopt(m->local, ZMQ_ROUTER_HANDOVER, &handover, sizeof handover) == 0 &&
	       zmq_setsockopt(m->local, ZMQ_LINGER, &linger_ms, sizeof linger_ms) == 0 &&
	       zmq_bind(m->local, MUX_ENDPOINT) == 0;
}

static bool open_link(struct mux *m, const char *endpoint)
{
	struct gate_link_events events = {m, on_link_opened, on_link_lost};

	m->link = gate_link_new(m->context, endpoint, &events);
	return m->link != NULL;
}

static void destroy(struct mux *m)
{
	for (size_t i = 0; i < m->seat_count; i++) {
		if (m->seats[i].state == SEAT_PARKED)
			zmq_msg_close(&m->seats[i].parked);
		forget_open(&m->seats[i]);
	}
	if (m->local != NULL)
		zmq_close(m->local);
	gate_link_destroy(&m->link);
	zmq_ctx_term(m->context);
	free(m->seats);
	free(m);
}

struct mux *mux_new(const char *endpoint, size_t seats, void (*on_reply)(void *ctx, uint16_t seat),
		    void *ctx, char *why, size_t why_bytes)
{
	struct mux *m = xcalloc(1, sizeof *m);

	m->on_reply = on_reply;
	m->ctx = ctx;
	m->process = id_random_u64();
	m->look_at_asks = m->look_at_broker = true;
	m->seat_count = seats;
	m->seats = xcalloc(seats, sizeof *m->seats);
	m->context = zmq_ctx_new();
	CHECK(m->context != NULL);
	zmq_ctx_set(m->context, ZMQ_MAX_SOCKETS, (int)seats + 16);
	if (open_local(m) && open_link(m, endpoint))
		return m;
	snprintf(why, why_bytes, "%s", zmq_strerror(errno));
	destroy(m);
	return NULL;
}

/* Cancels all open exchanges; otherwise broker and app keep working on them until ALIVE times
 * out. */
static void cancel_all(struct mux *m)
{
	struct gate_msg g = {.kind = GATE_CANCEL,
			     .fail = FAIL_SHUTTING_DOWN,
			     .boot = m->boot,
			     .process = m->process};

	if (m->open == 0 || !gate_link_is_open(m->link))
		return;
	gate_link_linger(m->link, LAST_WORDS_MS);
	for (size_t i = 0; i < m->seat_count; i++) {
		if (!m->seats[i].exchange_open)
			continue;
		memcpy(g.corr, m->seats[i].corr, CORR_BYTES);
		gate_link_notify(m->link, &g);
	}
}

void mux_stop(struct mux *m)
{
	cancel_all(m);
	zmq_ctx_shutdown(m->context);
}

void mux_destroy(struct mux **mp)
{
	struct mux *m = *mp;

	*mp = NULL;
	if (m != NULL)
		destroy(m);
}

void *mux_zmq_context(struct mux *m)
{
	return m->context;
}

uint64_t mux_process(const struct mux *m)
{
	return m->process;
}
