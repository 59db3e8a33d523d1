/* fcgi/mux.c - see mux.h.
 *
 *   ask --REQ--inproc--> ROUTER [server's thread] DEALER --ipc--> ROUTER of the broker
 *
 * A message that has been handed to the DEALER may have reached the local app; one that has not, cannot.
 * So while the link is down nothing is handed over: a new request waits for the link (a broker that is
 * being restarted costs nobody a request), and is then answered as surely not delivered. */
#include "fcgi/mux.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

enum {
	PARK_MS = 1500,	 /* how long a new request waits for the broker */
	ALIVE_MS = 2000, /* see GATE_ALIVE */
	HEARTBEAT_MS = 300,
	HEARTBEAT_TIMEOUT_MS = 1000, /* a broker that is stopped, not dead */
	RECONNECT_MS = 50,
	RECONNECT_MAX_MS = 1000,
	REPLY_MAX_MS = 30000, /* broker's longest hold is 10 s: beyond this something is broken */
	CHECK_MS = 500,	      /* how often that is looked at */
	ROUNDS = 4,	      /* of a mux_work() */
	LAST_WORDS_MS = 500,  /* for what mux_stop() says */
};

static const char LOCAL[] = "inproc://asks";
static const char MONITOR[] = "inproc://monitor";

/* What the mux knows of one ask. */
struct seat {
	enum { SEAT_FREE, SEAT_PARKED, SEAT_WAITING } state;
	bool relay_open;	  /* an OPEN went over and no reply has ended it */
	uint8_t corr[CORR_BYTES]; /* of the message it waits for */
	zmq_msg_t parked;	  /* SEAT_PARKED: not handed over yet */
	int64_t until_ms;	  /* it gets an answer of ours then */
};

struct mux {
	void *context;
	void *local, *remote, *monitor;
	void (*on_reply)(void *ctx, uint16_t seat);
	void *ctx;
	uint64_t process;
	uint64_t boot; /* of the broker that replied last */
	size_t seat_count;
	struct seat *seats;
	size_t parked, open, waiting;
	bool connected;
	bool unfinished;  /* the rounds did not suffice */
	int64_t alive_ms; /* when the next ALIVE is due */
	int64_t check_ms; /* when the next look for overdue replies is */
};

struct ask {
	struct mux *mux;
	void *socket;
	uint16_t seat;
	uint64_t boot; /* of the broker that has our exchange */
	zmq_msg_t reply;
};

/* A seat's number as a ZeroMQ routing id, which must not begin with a zero byte. */
static uint32_t seat_to_wire(uint16_t seat)
{
	return htobe32(0x01000000u | seat);
}

static uint16_t seat_from_wire(uint32_t wire)
{
	return (uint16_t)(be32toh(wire) & 0xffff);
}

/* --- towards the asks --- */

static void send_to_ask(struct mux *m, uint16_t seat, zmq_msg_t *payload)
{
	uint32_t wire = seat_to_wire(seat);

	if (zmq_send(m->local, &wire, sizeof wire, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
	    zmq_send(m->local, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
	    zmq_msg_send(payload, m->local, ZMQ_DONTWAIT) < 0)
		zmq_msg_close(payload); /* the ask is gone */
	else
		m->on_reply(m->ctx, seat);
}

/* It waits for nothing any more. `over`: nor does its exchange go on. */
static void settle(struct mux *m, struct seat *s, bool over)
{
	m->waiting -= s->state == SEAT_WAITING;
	s->state = SEAT_FREE;
	m->open -= over && s->relay_open;
	s->relay_open = s->relay_open && !over;
}

/* Answers an ask in the broker's place. */
static void answer_unavailable(struct mux *m, uint16_t seat, uint8_t flags)
{
	struct seat *s = &m->seats[seat];
	struct gate_msg reply = {.kind = GATE_REPLY,
				 .flags = (uint8_t)(GATE_FAILED | flags),
				 .fail = FAIL_BROKER_UNAVAILABLE};
	zmq_msg_t payload;

	memcpy(reply.corr, s->corr, CORR_BYTES);
	CHECK(zmq_msg_init_size(&payload, gate_encoded_bytes(&reply)) == 0);
	gate_encode(&reply, zmq_msg_data(&payload));
	settle(m, s, true);
	send_to_ask(m, seat, &payload);
}

/* --- towards the broker --- */

/* True: handed over, `payload` is gone. False: the link is down, nothing has happened. */
static bool hand_over(struct mux *m, uint16_t seat, uint8_t kind, zmq_msg_t *payload)
{
	struct seat *s = &m->seats[seat];
	uint32_t wire = seat_to_wire(seat);

	if (!m->connected ||
	    zmq_send(m->remote, &wire, sizeof wire, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
		return false;
	/* The first part was taken, so the pipe takes the others. */
	CHECK(zmq_send(m->remote, "", 0, ZMQ_SNDMORE) >= 0 &&
	      zmq_msg_send(payload, m->remote, 0) >= 0);
	s->state = SEAT_WAITING;
	s->until_ms = clock_now_ms() + REPLY_MAX_MS;
	m->waiting++;
	if (kind == GATE_OPEN && !s->relay_open) {
		s->relay_open = true;
		m->open++;
	}
	return true;
}

static void park(struct mux *m, struct seat *s, zmq_msg_t *payload)
{
	zmq_msg_init(&s->parked);
	zmq_msg_move(&s->parked, payload);
	s->state = SEAT_PARKED;
	s->until_ms = clock_now_ms() + PARK_MS;
	m->parked++;
}

static void from_ask(struct mux *m, uint16_t seat, zmq_msg_t *payload)
{
	struct seat *s = &m->seats[seat];
	struct gate_msg g;

	CHECK(gate_decode(zmq_msg_data(payload), zmq_msg_size(payload), &g));
	memcpy(s->corr, g.corr, CORR_BYTES);
	if (hand_over(m, seat, g.kind, payload))
		return;
	if (g.kind == GATE_OPEN || g.kind == GATE_PING) {
		park(m, s, payload);
		return;
	}
	zmq_msg_close(payload); /* its exchange went down with the broker */
	answer_unavailable(m, seat, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

/* Receives [seat][""][payload]. 1: done. 0: nothing there. -1: something else, thrown away. */
static int receive(void *socket, uint16_t *seat, zmq_msg_t *payload)
{
	uint32_t wire = 0;
	bool good = true;

	for (int part = 0;; part++) {
		zmq_msg_t m;
		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&m);
			return 0;
		}
		bool more = zmq_msg_more(&m);
		if (part == 0 && zmq_msg_size(&m) == sizeof wire)
			memcpy(&wire, zmq_msg_data(&m), sizeof wire);
		else if (part == 0 || (part == 1 && zmq_msg_size(&m) != 0) || part > 2)
			good = false;
		if (part == 2)
			zmq_msg_move(payload, &m);
		zmq_msg_close(&m);
		if (!more) {
			*seat = seat_from_wire(wire);
			return good && part == 2 ? 1 : -1;
		}
	}
}

/* Whether there were any. */
static bool drain_asks(struct mux *m)
{
	uint16_t seat = 0;
	zmq_msg_t payload;
	bool some = false;
	int got;

	do {
		zmq_msg_init(&payload);
		got = receive(m->local, &seat, &payload);
		some = some || got != 0;
		if (got == 1 && seat < m->seat_count)
			from_ask(m, seat, &payload);
		else
			zmq_msg_close(&payload);
	} while (got != 0);
	return some;
}

static void from_broker(struct mux *m, uint16_t seat, zmq_msg_t *payload)
{
	struct seat *s = &m->seats[seat];
	struct gate_msg g;

	if (s->state != SEAT_WAITING ||
	    !gate_decode(zmq_msg_data(payload), zmq_msg_size(payload), &g) ||
	    memcmp(g.corr, s->corr, CORR_BYTES) != 0) {
		log_limited_warn("", "gate.reply_ignored seat=%u", seat);
		zmq_msg_close(payload);
		return;
	}
	m->boot = g.boot;
	settle(m, s, (g.flags & (GATE_FAILED | GATE_RESPONSE_END)) != 0);
	send_to_ask(m, seat, payload);
}

static void drain_broker(struct mux *m)
{
	uint16_t seat = 0;
	zmq_msg_t payload;
	int got;

	do {
		zmq_msg_init(&payload);
		got = receive(m->remote, &seat, &payload);
		if (got == 1 && seat < m->seat_count)
			from_broker(m, seat, &payload);
		else
			zmq_msg_close(&payload);
	} while (got != 0);
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
		CHECK(gate_decode(zmq_msg_data(&s->parked), zmq_msg_size(&s->parked), &g));
		if (hand_over(m, i, g.kind, &s->parked)) {
			m->parked--;
		} else if (give_up_due && now >= s->until_ms) {
			zmq_msg_close(&s->parked);
			m->parked--;
			answer_unavailable(m, i, 0);
		}
	}
}

static void link_lost(struct mux *m)
{
	drain_broker(m); /* what it said before it went */
	m->connected = false;
	log_warn("gate.lost");
	for (uint16_t i = 0; i < m->seat_count; i++) {
		struct seat *s = &m->seats[i];
		if (s->state == SEAT_WAITING)
			answer_unavailable(m, i, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	}
}

static void on_monitor(struct mux *m)
{
	for (;;) {
		zmq_msg_t event;
		uint16_t number = 0;
		zmq_msg_init(&event);
		if (zmq_msg_recv(&event, m->monitor, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&event);
			return;
		}
		if (zmq_msg_size(&event) >= sizeof number)
			memcpy(&number, zmq_msg_data(&event), sizeof number);
		bool more = zmq_msg_more(&event);
		zmq_msg_close(&event);
		if (more) { /* the address */
			zmq_msg_init(&event);
			zmq_msg_recv(&event, m->monitor, 0);
			zmq_msg_close(&event);
		}
		if (number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
			m->connected = true;
			log_info("gate.connected");
			retry_parked(m, false);
		} else if (number == ZMQ_EVENT_DISCONNECTED && m->connected) {
			link_lost(m);
		}
	}
}

/* What no ask asks, and nobody takes an answer to. */
static void say(struct mux *m, const struct gate_msg *g)
{
	uint8_t wire[GATE_CONTROL_BYTES];

	gate_encode(g, wire);
	if (zmq_send(m->remote, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 0)
		zmq_send(m->remote, wire, sizeof wire, 0);
}

static void say_alive(struct mux *m)
{
	struct gate_msg g = {.kind = GATE_ALIVE, .process = m->process};
	int64_t now = clock_now_ms();

	if (m->open == 0 || !m->connected || now < m->alive_ms)
		return;
	m->alive_ms = now + ALIVE_MS;
	say(m, &g);
}

/* The broker's longest hold is much shorter: whatever has happened to the reply, nobody waits for ever. */
static void answer_overdue(struct mux *m)
{
	int64_t now = clock_now_ms();

	if (m->waiting == 0 || now < m->check_ms)
		return;
	m->check_ms = now + CHECK_MS;
	for (uint16_t i = 0; i < m->seat_count; i++) {
		struct seat *s = &m->seats[i];
		if (s->state != SEAT_WAITING || now < s->until_ms)
			continue;
		log_limited_error("", "gate.no_reply seat=%u", i);
		answer_unavailable(m, i, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	}
}

int mux_timeout_ms(const struct mux *m)
{
	if (m->unfinished)
		return 0;
	if (m->parked > 0)
		return 20;
	return m->open > 0 || m->waiting > 0 ? CHECK_MS : -1;
}

void mux_work(struct mux *m)
{
	say_alive(m);
	on_monitor(m);
	if (m->parked > 0)
		retry_parked(m, true);
	answer_overdue(m);
	/* A reply can make a new ask. And whatever was sent may have taken the sign that something came: so
	 * nothing is sent behind the last look, or the next one does not wait. While much is under way a round takes
	 * longer than the next replies, so there is an end to them. */
	m->unfinished = true;
	for (int i = 0; m->unfinished && i < ROUNDS; i++) {
		drain_broker(m);
		m->unfinished = drain_asks(m);
	}
}

static void watch(void *socket, int epoll_fd, void *data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
	int fd;
	size_t bytes = sizeof fd;

	CHECK(zmq_getsockopt(socket, ZMQ_FD, &fd, &bytes) == 0);
	CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void mux_watch(struct mux *m, int epoll_fd, void *data)
{
	watch(m->local, epoll_fd, data);
	watch(m->remote, epoll_fd, data);
	watch(m->monitor, epoll_fd, data);
}

/* --- start and end --- */

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof value);
}

static bool open_remote(struct mux *m, const char *endpoint)
{
	int64_t most = GATE_MAX_MESSAGE_BYTES;

	m->remote = zmq_socket(m->context, ZMQ_DEALER);
	return m->remote != NULL && set_int(m->remote, ZMQ_IMMEDIATE, 1) == 0 &&
	       set_int(m->remote, ZMQ_LINGER, 0) == 0 &&
	       /* Bounded by the seats, each with one message; full would look as if the link was down. */
	       set_int(m->remote, ZMQ_SNDHWM, 0) == 0 && set_int(m->remote, ZMQ_RCVHWM, 0) == 0 &&
	       set_int(m->remote, ZMQ_RECONNECT_IVL, RECONNECT_MS) == 0 &&
	       set_int(m->remote, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) == 0 &&
	       set_int(m->remote, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) == 0 &&
	       set_int(m->remote, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS) == 0 &&
	       zmq_setsockopt(m->remote, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0 &&
	       zmq_socket_monitor(m->remote, MONITOR,
				  ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) == 0 &&
	       (m->monitor = zmq_socket(m->context, ZMQ_PAIR)) != NULL &&
	       set_int(m->monitor, ZMQ_LINGER, 0) == 0 && zmq_connect(m->monitor, MONITOR) == 0 &&
	       zmq_connect(m->remote, endpoint) == 0;
}

static bool open_local(struct mux *m)
{
	m->local = zmq_socket(m->context, ZMQ_ROUTER);
	return m->local != NULL && set_int(m->local, ZMQ_ROUTER_HANDOVER, 1) == 0 &&
	       set_int(m->local, ZMQ_LINGER, 0) == 0 && zmq_bind(m->local, LOCAL) == 0;
}

static void destroy(struct mux *m)
{
	for (size_t i = 0; i < m->seat_count; i++) {
		if (m->seats[i].state == SEAT_PARKED)
			zmq_msg_close(&m->seats[i].parked);
	}
	if (m->local != NULL)
		zmq_close(m->local);
	if (m->monitor != NULL)
		zmq_close(m->monitor);
	if (m->remote != NULL)
		zmq_close(m->remote);
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
	m->seat_count = seats;
	m->seats = xcalloc(seats, sizeof *m->seats);
	m->context = zmq_ctx_new();
	CHECK(m->context != NULL);
	zmq_ctx_set(m->context, ZMQ_MAX_SOCKETS, (int)seats + 16);
	if (open_local(m) && open_remote(m, endpoint))
		return m;
	snprintf(why, why_bytes, "%s", zmq_strerror(errno));
	destroy(m);
	return NULL;
}

/* Or the broker and the app would work for nobody until our silence is noticed. */
static void cancel_all(struct mux *m)
{
	struct gate_msg g = {.kind = GATE_CANCEL,
			     .fail = FAIL_SHUTTING_DOWN,
			     .boot = m->boot,
			     .process = m->process};

	if (m->open == 0 || !m->connected)
		return;
	CHECK(set_int(m->remote, ZMQ_LINGER, LAST_WORDS_MS) == 0);
	for (size_t i = 0; i < m->seat_count; i++) {
		if (!m->seats[i].relay_open)
			continue;
		memcpy(g.corr, m->seats[i].corr, CORR_BYTES);
		say(m, &g);
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

/* False: out of descriptors. */
static bool open_socket(struct ask *a)
{
	uint32_t wire = seat_to_wire(a->seat);

	a->socket = zmq_socket(a->mux->context, ZMQ_REQ);
	if (a->socket == NULL)
		return false;
	CHECK(zmq_setsockopt(a->socket, ZMQ_ROUTING_ID, &wire, sizeof wire) == 0);
	CHECK(set_int(a->socket, ZMQ_LINGER, 0) == 0);
	CHECK(zmq_connect(a->socket, LOCAL) == 0);
	return true;
}

struct ask *ask_new(struct mux *m, uint16_t seat)
{
	struct ask *a = xcalloc(1, sizeof *a);

	CHECK(seat < m->seat_count);
	a->mux = m;
	a->seat = seat;
	zmq_msg_init(&a->reply);
	if (open_socket(a))
		return a;
	log_limited_error("", "gate.no_socket why=\"%s\"", zmq_strerror(errno));
	free(a);
	return NULL;
}

void ask_destroy(struct ask **ap)
{
	struct ask *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	zmq_msg_close(&a->reply);
	zmq_close(a->socket);
	free(a);
}

static bool send_ask(struct ask *a, struct gate_msg *m)
{
	zmq_msg_t payload;

	m->process = a->mux->process;
	m->boot = a->boot;
	CHECK(zmq_msg_init_size(&payload, gate_encoded_bytes(m)) == 0);
	gate_encode(m, zmq_msg_data(&payload));
	if (zmq_msg_send(&payload, a->socket, 0) >= 0)
		return true;
	zmq_msg_close(&payload);
	return false;
}

void ask_send(struct ask *a, struct gate_msg *m)
{
	CHECK(send_ask(a, m)); /* inproc, and nothing else is under way */
}

static bool take(struct ask *a, struct gate_msg *reply)
{
	int got;

	zmq_msg_close(&a->reply);
	zmq_msg_init(&a->reply);
	do {
		got = zmq_msg_recv(&a->reply, a->socket, 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return false;
	CHECK(gate_decode(zmq_msg_data(&a->reply), zmq_msg_size(&a->reply), reply));
	a->boot = reply->boot;
	return true;
}

void ask_take(struct ask *a, struct gate_msg *reply)
{
	CHECK(take(a, reply)); /* the mux has sent it, and it is one of ours */
}

void ask_call(struct ask *a, struct gate_msg *m, struct gate_msg *reply)
{
	if (send_ask(a, m) && take(a, reply))
		return;
	CHECK(errno == ETERM); /* nothing else: the mux answers always */
	*reply = (struct gate_msg){
		.kind = GATE_REPLY,
		.flags = GATE_FAILED | GATE_ACCEPTED | GATE_MAYBE_DELIVERED,
		.fail = FAIL_SHUTTING_DOWN,
	};
}

const char *mux_library_version(void)
{
	static char text[32];
	int major, minor, patch;

	zmq_version(&major, &minor, &patch);
	snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
	return text;
}
