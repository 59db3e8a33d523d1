/* The broker's core: who gets a request, who waits, and how each one ends. */
#include "tests/fuzz/world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

static struct world w;
static struct head get; /* a small request */

static int set_up(void **state)
{
	(void)state;
	world_init(&w);
	world_request(&get, "GET", "/");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	world_fini(&w);
	head_fini(&get);
	return 0;
}

/* A v2 tunnel for `id` in that slot. */
static void connect(size_t slot, const char *id)
{
	char instance[33];

	snprintf(instance, sizeof instance, "%032zu", slot);
	world_connect(&w, slot, &protocol_v2, id);
	world_hello(&w, slot, "100", "262144", instance);
	world_settle(&w);
	buf_consume(&w.sockets[slot].sent, buf_bytes(&w.sockets[slot].sent));
}

static void open(size_t peer, const char *id)
{
	world_open(&w, peer, id, &get, GATE_BODY_END, 0);
	world_settle(&w);
}

/* Takes the next frame off what went down. */
static struct frame next_frame(size_t slot)
{
	struct buf *sent = &w.sockets[slot].sent;
	struct frame f = {0};
	size_t used;

	if (buf_bytes(sent) == 0)
		return f;
	assert_int_equal(frame_get(buf_first(sent), buf_bytes(sent), &f, &used), 1);
	buf_consume(sent, used);
	f.payload = NULL; /* may be gone */
	return f;
}

static void expect_frame(size_t slot, enum frame_type type, uint32_t stream)
{
	struct frame f = next_frame(slot);

	if (f.type != type || f.stream != stream)
		fail_msg("frame %d of stream %u", f.type, f.stream);
}

static void expect_nothing(size_t slot)
{
	assert_int_equal(buf_bytes(&w.sockets[slot].sent), 0);
}

static void expect_failure(size_t peer, enum fail f, uint8_t flags)
{
	const struct world_peer *p = &w.peers[peer];

	assert_false(p->waiting);
	if (p->last.fail != f || p->last.flags != (GATE_FAILED | flags))
		fail_msg("peer %zu: %s, flags %u", peer, fail_code((enum fail)p->last.fail),
			 p->last.flags);
}

static void expect_answer(size_t peer)
{
	assert_false(w.peers[peer].waiting);
	assert_int_equal(w.peers[peer].last.flags, GATE_HAS_HEAD | GATE_RESPONSE_END);
}

static void test_small_exchange(void **state)
{
	(void)state;
	connect(0, "a");
	open(0, "a");
	expect_frame(0, FRAME_OPEN, 1);
	assert_true(w.peers[0].waiting);
	world_answer(&w, 0, FRAME_END, 1, "hello", 5);
	world_settle(&w);
	expect_answer(0);
	assert_int_equal(w.peers[0].last.body_bytes, 5);
	assert_memory_equal(w.peers[0].last.body, "hello", 5);
	assert_false(hub_busy(w.hub));
	assert_int_equal(w.hub->stats.outcomes[FAIL_NONE], 1);
	assert_int_equal(w.hub->stats.response_bytes, 5);
}

static void test_unknown_and_offline(void **state)
{
	(void)state;
	/* soon after a start any client may be about to come back */
	open(0, "a");
	assert_true(w.peers[0].waiting);
	world_later(&w, 4900);
	assert_true(w.peers[0].waiting);
	world_later(&w, 200);
	expect_failure(0, FAIL_TUNNEL_OFFLINE, GATE_ACCEPTED);

	world_later(&w, 60000);
	open(0, "a");
	expect_failure(0, FAIL_TUNNEL_UNKNOWN, 0);

	connect(0, "a");
	world_disconnect(&w, 0);
	open(0, "a"); /* was here before */
	assert_true(w.peers[0].waiting);
	connect(1, "a");
	expect_nothing(0);
	world_answer(&w, 1, FRAME_END, 1, "", 0);
	world_settle(&w);
	expect_answer(0);
}

static void test_names_are_remembered_within_a_bound(void **state)
{
	char id[16];

	(void)state;
	world_later(&w, 61000); /* not fresh any more: only who was here before may wait */
	for (int i = 0; i <= 65536; i++) {
		snprintf(id, sizeof id, "id-%d", i);
		group_expect_tunnel(group_get(w.hub, id, strlen(id)));
	}
	world_settle(&w);
	assert_int_equal(w.hub->idle_group_count, 65536);
	open(0, "id-0"); /* the oldest */
	expect_failure(0, FAIL_TUNNEL_UNKNOWN, 0);
	open(1, "id-1");
	assert_true(w.peers[1].waiting);
	open(2, "id-65536");
	assert_true(w.peers[2].waiting);
}

static void test_no_waiting_at_all(void **state)
{
	(void)state;
	w.config.offline_wait_ms = 0;
	connect(0, "a");
	world_disconnect(&w, 0);
	open(0, "a");
	expect_failure(0, FAIL_TUNNEL_OFFLINE, 0);
}

static void test_queue_is_bounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		open(i, "a");
	expect_failure(3, FAIL_QUEUE_FULL, 0);
	assert_int_equal(w.hub->stats.queued, 3);
	connect(0, "a"); /* takes two at once */
	assert_int_equal(w.hub->stats.queued, 1);
	assert_int_equal(w.hub->stats.running, 2);
	world_answer(&w, 0, FRAME_END, 1, "", 0);
	world_settle(&w);
	assert_int_equal(w.hub->stats.queued, 0);
	expect_answer(0); /* the first that came */
}

/* Of a reply that no peer of the world waits for: how many ended in which way. */
static size_t ends[FAIL_COUNT];

static bool count_end(const struct reply_to *to, const struct gate_msg *m)
{
	(void)to;
	ends[m->fail]++;
	return true;
}

/* Requests `first` to `last` for ids of their own, or for one id where `id` is not NULL. */
static void open_many(int first, int last, const char *id)
{
	static struct requester counter = {.reply = count_end};
	const struct reply_to nobody = {.requester = &counter};
	char own[16];
	struct gate_msg m = {.kind = GATE_OPEN,
			     .flags = GATE_BODY_END,
			     .number = 10000,
			     .process = 1,
			     .head = get.data,
			     .head_bytes = get.bytes};

	for (int i = first; i <= last; i++) {
		snprintf(own, sizeof own, "id-%d", i);
		m.id = id ? id : own;
		m.id_bytes = strlen(m.id);
		memcpy(m.corr, &i, sizeof i);
		hub_on_gate(w.hub, &nobody, &m);
	}
	hub_settle(w.hub);
}

/* A restart under load: the whole queue of an id waits for its client. A scan of ids finds a
 * bound. */
static void test_a_young_broker_holds_a_queue_and_not_a_scan(void **state)
{
	(void)state;
	memset(ends, 0, sizeof ends);
	w.config.max_queue_depth = 100;
	open_many(1, 101, "a");
	assert_int_equal(w.hub->stats.queued, 100);
	assert_int_equal(ends[FAIL_QUEUE_FULL], 1);
	open_many(1001, 1156, NULL);
	assert_int_equal(w.hub->stats.queued, 256);
	assert_int_equal(ends[FAIL_QUEUE_FULL], 1);
	open_many(1157, 1157, NULL);
	assert_int_equal(ends[FAIL_QUEUE_FULL], 2); /* true, and says when to come again */
	assert_int_equal(ends[FAIL_TUNNEL_UNKNOWN], 0);

	/* those of an id that is seen now take nobody's place */
	group_expect_tunnel(group_get(w.hub, "a", 1));
	open_many(2001, 2101, NULL);
	assert_int_equal(w.hub->stats.queued, 356);
	assert_int_equal(ends[FAIL_QUEUE_FULL], 3);
	world_later(&w, 5000);
	assert_int_equal(w.hub->stats.queued, 0);
	assert_int_equal(ends[FAIL_TUNNEL_OFFLINE], 356);
	open_many(3001, 3256, NULL);
	assert_int_equal(w.hub->stats.queued, 256);
	assert_int_equal(ends[FAIL_QUEUE_FULL], 3);
	world_later(&w, 5000);
	assert_int_equal(w.hub->stats.queued, 0);
	assert_false(hub_busy(w.hub));
}

static void test_fewest_running_then_in_turn(void **state)
{
	(void)state;
	connect(0, "a");
	connect(1, "a");
	open(0, "a");
	expect_frame(0, FRAME_OPEN, 1);
	open(1, "a");
	expect_frame(1, FRAME_OPEN, 1);
	world_answer(&w, 1, FRAME_END, 1, "", 0);
	open(2, "a");
	expect_frame(1, FRAME_OPEN, 2);
	world_answer(&w, 0, FRAME_END, 1, "", 0);
	world_answer(&w, 1, FRAME_END, 2, "", 0);
	open(3, "a");
	expect_frame(0, FRAME_OPEN, 2);
}

static void ask(size_t peer, const char *method)
{
	struct head h = {0};

	world_request(&h, method, "/");
	world_open(&w, peer, "a", &h, GATE_BODY_END, 0);
	world_settle(&w);
	head_fini(&h);
}

static void ask_websocket(size_t peer)
{
	struct gate_msg m = {.kind = GATE_OPEN,
			     .number = 10000,
			     .id = "a",
			     .id_bytes = 1,
			     .head = get.data,
			     .head_bytes = get.bytes};

	memset(m.corr, (int)peer, sizeof m.corr);
	world_send(&w, peer, &m); /* of no responder process: a caller's WebSocket */
	world_settle(&w);
}

/* A v2 tunnel that takes one request at a time. */
static void connect_narrow(size_t slot)
{
	world_connect(&w, slot, &protocol_v2, "a");
	world_hello(&w, slot, "1", "262144", "0123456789abcdef0123456789abcdef");
	world_settle(&w);
}

/* Where is it? -1: it waits. */
static int slot_of(size_t peer)
{
	uint8_t corr[CORR_BYTES];

	memset(corr, (int)peer, sizeof corr);
	const struct exchange *x = exchange_find(w.hub, corr);
	assert_non_null(x);
	for (int i = 0; i < WORLD_SOCKETS; i++) {
		if (x->tunnel != NULL && w.sockets[i].tunnel == x->tunnel)
			return i;
	}
	assert_int_equal(x->state, EXCHANGE_QUEUED);
	return -1;
}

/* v1 in slot 0. */
static void answer_v1(size_t peer)
{
	char message[160], id[33];

	for (int i = 0; i < 16; i++)
		snprintf(id + 2 * i, 3, "%02zx", peer);
	snprintf(message, sizeof message,
		 "{\"correlation_id\":\"%s\",\"headers\":\"\",\"body\":\"\",\"status_code\":200}",
		 id);
	world_receive(&w, 0, message, strlen(message));
	world_settle(&w);
	expect_answer(peer);
}

/* What only a v2 client can serve waits for one, and keeps nobody from a v1 client that has
 * room. */
static void test_waiting_for_one_client_blocks_no_other(void **state)
{
	(void)state;
	w.config.max_queue_depth = 4;
	world_connect(&w, 0, &protocol_v1, "a");
	connect_narrow(1);
	ask(0, "PROPFIND");
	assert_int_equal(slot_of(0), 1);
	ask(1, "PROPFIND");
	assert_int_equal(slot_of(1), -1);
	ask(2, "GET");
	ask(3, "GET");
	assert_int_equal(slot_of(2), 0);
	assert_int_equal(slot_of(3), 0);
	ask(4, "GET"); /* both are full now */
	ask(5, "PROPFIND");
	ask(6, "GET");
	assert_int_equal(w.hub->stats.queued, 4);

	answer_v1(2); /* past the PROPFIND that came first */
	assert_int_equal(slot_of(4), 0);
	assert_int_equal(slot_of(6), -1);
	world_answer(&w, 1, FRAME_END, 1, "", 0);
	world_settle(&w);
	assert_int_equal(slot_of(1), 1);
	world_answer(&w, 1, FRAME_END, 2, "", 0); /* either would do here: in the order they came */
	world_settle(&w);
	assert_int_equal(slot_of(5), 1);
	answer_v1(3);
	assert_int_equal(slot_of(6), 0);
	assert_int_equal(w.hub->stats.queued, 0);
}

/* It takes no request's place, so it waits for none. */
static void test_a_websocket_waits_for_no_request(void **state)
{
	(void)state;
	w.config.max_websockets = 1;
	ask(0, "GET");
	ask(1, "GET");
	ask_websocket(2);
	connect_narrow(1);
	assert_int_equal(slot_of(0), 1);
	assert_int_equal(slot_of(1), -1);
	assert_int_equal(slot_of(2), 1);
	ask_websocket(3); /* nor for another one */
	expect_failure(3, FAIL_QUEUE_FULL, 0);
}

/* A caller that reads nothing keeps its socket: then it keeps its place as well. */
static void test_a_websocket_counts_until_its_socket_is_closed(void **state)
{
	struct gate_msg step = {.kind = GATE_STEP, .boot = w.hub->boot, .number = 10000};
	uint8_t corr[CORR_BYTES];

	(void)state;
	w.config.max_websockets = 1;
	connect(0, "a");
	ask_websocket(0);
	assert_int_equal(slot_of(0), 0);
	world_answer(&w, 0, FRAME_END, 1, "", 0);
	world_settle(&w);
	ask_websocket(1); /* over at the tunnel, if not with the caller */
	expect_failure(1, FAIL_QUEUE_FULL, 0);
	world_send(&w, 0, &step);
	world_settle(&w);
	assert_false(hub_busy(w.hub));
	ask_websocket(1);
	expect_failure(1, FAIL_QUEUE_FULL, 0);
	memset(corr, 1, sizeof corr);
	hub_socket_closed(w.hub, corr); /* was refused: it has never counted */
	ask_websocket(2);
	expect_failure(2, FAIL_QUEUE_FULL, 0);
	world_disconnect(&w, 0); /* nor does another tunnel of the name change it */
	connect(1, "a");
	ask_websocket(3);
	expect_failure(3, FAIL_QUEUE_FULL, 0);
	memset(corr, 0, sizeof corr);
	hub_socket_closed(w.hub, corr);
	ask_websocket(4);
	assert_int_equal(slot_of(4), 1);
}

static void test_tunnel_lost(void **state)
{
	(void)state;
	connect(0, "a");
	w.sockets[0].blocked = true;
	open(0, "a");
	world_disconnect(&w, 0); /* before a byte of it went: somebody else serves it */
	world_settle(&w);
	assert_true(w.peers[0].waiting);
	connect(1, "a");
	world_disconnect(&w, 1); /* after */
	world_settle(&w);
	expect_failure(0, FAIL_TUNNEL_LOST, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

static void test_tunnel_lost_after_the_head(void **state)
{
	(void)state;
	connect(0, "a");
	open(0, "a");
	world_answer(&w, 0, 0, 1, "part", 4);
	world_settle(&w);
	assert_int_equal(w.peers[0].last.flags, GATE_HAS_HEAD);
	world_step(&w, 0, GATE_STEP, 0, 10000, 0);
	world_disconnect(&w, 0);
	world_settle(&w);
	expect_failure(0, FAIL_TUNNEL_LOST, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

/* Empty replies, at the latest each 10 s, give neither side more time. */
static void test_time_outs(void **state)
{
	(void)state;
	connect(0, "a");
	open(0, "a");
	open(1, "a");
	world_answer(&w, 0, 0, 2, "", 0); /* the second has its head */
	world_settle(&w);
	assert_int_equal(w.peers[1].last.flags, GATE_HAS_HEAD);
	world_step(&w, 1, GATE_STEP, 0, 10000, 0);
	world_later(&w, 10000); /* the longest hold */
	for (size_t i = 0; i < 2; i++) {
		assert_false(w.peers[i].waiting);
		assert_int_equal(w.peers[i].last.flags, 0);
		world_step(&w, i, GATE_STEP, 0, 10000, 0);
	}
	world_later(&w, 5000);
	expect_failure(1, FAIL_IDLE_TIMEOUT, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	assert_true(w.peers[0].waiting);
	world_later(&w, 5000);
	expect_failure(0, FAIL_RESPONSE_TIMEOUT, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	expect_frame(0, FRAME_OPEN, 1);
	expect_frame(0, FRAME_OPEN, 2);
	expect_frame(0, FRAME_RESET, 2);
	expect_frame(0, FRAME_RESET, 1);
}

static void test_caller_leaves(void **state)
{
	(void)state;
	connect(0, "a");
	open(0, "a");
	expect_frame(0, FRAME_OPEN, 1);
	world_later(&w, 10000); /* the reply is due by then */
	world_step(&w, 0, GATE_CANCEL, 0, 0, 0);
	world_settle(&w);
	expect_failure(0, FAIL_CANCELLED, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	expect_frame(0, FRAME_RESET, 1);
	world_answer(&w, 0, FRAME_END, 1, "late", 4);
	world_settle(&w);
	assert_false(hub_busy(w.hub));
}

static void test_responder_dies(void **state)
{
	(void)state;
	connect(0, "a");
	open(0, "a");
	expect_frame(0, FRAME_OPEN, 1);
	world_lose_responders(&w);
	expect_frame(0, FRAME_RESET, 1);
	assert_false(hub_busy(w.hub));
}

static void test_body_too_large(void **state)
{
	struct gate_msg m = {.kind = GATE_OPEN,
			     .flags = GATE_HAS_LENGTH,
			     .id = "a",
			     .id_bytes = 1,
			     .head = get.data,
			     .head_bytes = get.bytes,
			     .body_total_bytes = 400001};

	(void)state;
	connect(0, "a");
	world_send(&w, 0, &m);
	world_settle(&w);
	expect_failure(0, FAIL_BODY_TOO_LARGE, 0);

	world_open(&w, 1, "a", &get, 0, 65536); /* without a length, by count */
	for (int i = 0; i < 6; i++) {
		world_settle(&w);
		assert_false(w.peers[1].waiting);
		assert_int_equal(w.peers[1].last.flags, 0);
		world_receive_frame(&w, 0, FRAME_WINDOW, 0, 1, "\0\1\0\0", 4);
		world_step(&w, 1, GATE_STEP, 0, 10000, 65536);
	}
	world_settle(&w);
	expect_failure(1, FAIL_BODY_TOO_LARGE, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
}

static void test_impossible_messages(void **state)
{
	static uint8_t body[GATE_PIECE_BYTES + 1];
	struct gate_msg m = {.kind = GATE_OPEN,
			     .id = "a/b",
			     .id_bytes = 3,
			     .head = get.data,
			     .head_bytes = get.bytes};

	(void)state;
	connect(0, "a");
	world_send(&w, 0, &m);
	expect_failure(0, FAIL_BAD_REQUEST, 0);
	m.id = "a";
	m.id_bytes = 1;
	m.head_bytes--;
	world_send(&w, 0, &m);
	expect_failure(0, FAIL_BAD_REQUEST, 0);
	m.head_bytes = 0;
	world_send(&w, 0, &m);
	expect_failure(0, FAIL_BAD_REQUEST, 0);
	struct head large = {0};
	static char value[FRAME_REQUEST_HEAD_MAX_BYTES];
	memset(value, 'x', sizeof value - 1);
	head_add(&large, "a", value);
	m.head = large.data;
	m.head_bytes = large.bytes;
	world_send(&w, 0, &m);
	expect_failure(0, FAIL_BAD_REQUEST, 0);
	head_fini(&large);
	m.head = get.data;
	m.head_bytes = get.bytes;
	m.body = body;
	m.body_bytes = sizeof body;
	world_send(&w, 0, &m);
	expect_failure(0, FAIL_BAD_REQUEST, 0);

	open(0, "a");
	m.body_bytes = 0; /* peer 1 with the correlation id of peer 0 */
	world_send(&w, 1, &m);
	expect_failure(1, FAIL_BAD_REQUEST, 0);
	m = (struct gate_msg){.kind = 99};
	world_send(&w, 1, &m);
	expect_failure(1, FAIL_BAD_REQUEST, 0);
	m.kind = GATE_PING;
	world_send(&w, 1, &m);
	assert_int_equal(w.peers[1].last.kind, GATE_PONG);
	assert_true(w.peers[0].waiting);
}

static void test_another_brokers_exchange(void **state)
{
	struct gate_msg m = {.kind = GATE_STEP, .boot = 8};
	const uint8_t flags = GATE_ACCEPTED | GATE_MAYBE_DELIVERED;

	(void)state;
	world_step(&w, 0, GATE_STEP, 0, 10000, 0); /* no such exchange */
	expect_failure(0, FAIL_BROKER_UNAVAILABLE, flags);
	connect(0, "a");
	open(0, "a");
	world_send(&w, 1, &m);
	expect_failure(1, FAIL_BROKER_UNAVAILABLE, flags);
}

static void test_drain(void **state)
{
	(void)state;
	connect(0, "a");
	open(0, "a");
	expect_frame(0, FRAME_OPEN, 1);
	hub_drain(w.hub);
	world_settle(&w);
	expect_frame(0, FRAME_GOAWAY, 0);
	open(1, "a");
	expect_failure(1, FAIL_SHUTTING_DOWN, 0);
	assert_true(w.peers[0].waiting);
	hub_end_all(w.hub);
	world_settle(&w);
	expect_failure(0, FAIL_SHUTTING_DOWN, GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	hub_close_tunnels(w.hub);
	assert_int_equal(w.sockets[0].close_code, 1001);
	world_settle(&w);
	assert_false(hub_has_tunnels(w.hub));
}

static void test_expired_tunnel(void **state)
{
	(void)state;
	w.life_ms = 3600000;
	connect(0, "a");
	world_later(&w, 3599999);
	assert_false(w.sockets[0].closing);
	hub_set_now(w.hub, w.hub->now_ms + 1);
	hub_tick(w.hub);
	assert_true(w.sockets[0].closing);
	assert_int_equal(w.sockets[0].close_code, 1008);
	assert_string_equal(w.sockets[0].close_reason, "Token expired");
}

static void test_names_do_not_mix(void **state)
{
	(void)state;
	connect(0, "a");
	connect(1, "A");
	open(0, "A");
	expect_nothing(0);
	expect_frame(1, FRAME_OPEN, 1);
	/* a client cannot answer another tunnel's exchange */
	world_answer(&w, 0, FRAME_END, 1, "", 0);
	world_settle(&w);
	assert_true(w.peers[0].waiting);
}

/* In a child, as such a change ends the process. */
static bool may_change(enum exchange_state from, enum exchange_state to)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct exchange x = {.state = from};
		signal(SIGABRT, SIG_DFL);
		fclose(stderr);
		exchange_set_state(&x, to);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_legal_changes_of_an_exchange(void **state)
{
	static const enum exchange_state legal[][2] = {
		{EXCHANGE_NEW, EXCHANGE_QUEUED},
		{EXCHANGE_NEW, EXCHANGE_ASSIGNED},
		{EXCHANGE_QUEUED, EXCHANGE_ASSIGNED},
		{EXCHANGE_ASSIGNED, EXCHANGE_QUEUED}, /* no byte of it was sent */
		{EXCHANGE_ASSIGNED, EXCHANGE_SENT},
		{EXCHANGE_SENT, EXCHANGE_RESPONDING},
		{EXCHANGE_RESPONDING, EXCHANGE_ANSWERED},
		{EXCHANGE_FAILED, EXCHANGE_ABANDONED},
	};
	bool want[EXCHANGE_STATE_COUNT][EXCHANGE_STATE_COUNT] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++)
		want[legal[i][0]][legal[i][1]] = true;
	for (int i = 0; i < EXCHANGE_FAILED; i++)
		want[i][EXCHANGE_FAILED] = true;
	for (int i = 0; i < EXCHANGE_STATE_COUNT; i++) {
		for (int j = 0; j < EXCHANGE_STATE_COUNT; j++) {
			if (may_change((enum exchange_state)i, (enum exchange_state)j) !=
			    want[i][j])
				fail_msg("%s to %s", exchange_state_name((enum exchange_state)i),
					 exchange_state_name((enum exchange_state)j));
		}
	}
}

/* Before the turn has ended, too, the one that waited longest gets the free place. */
static void test_a_new_request_overtakes_none_that_waits(void **state)
{
	(void)state;
	connect_narrow(0);
	open(0, "a");
	open(1, "a");
	assert_int_equal(slot_of(1), -1);
	world_answer(&w, 0, FRAME_END, 1, "", 0);
	world_open(&w, 2, "a", &get, GATE_BODY_END, 0);
	world_settle(&w);
	expect_answer(0);
	assert_int_equal(slot_of(1), 0);
	assert_int_equal(slot_of(2), -1);
}

static void test_presence(void **state)
{
	(void)state;
	world_connect(&w, 0, &protocol_v2, "a"); /* has not greeted */
	assert_null(world_online(&w, "a"));
	connect(1, "a");
	connect(2, "b");
	assert_non_null(world_online(&w, "a"));
	assert_non_null(world_online(&w, "b"));
	connect(3, "a");
	world_disconnect(&w, 1);
	assert_non_null(world_online(&w, "a"));
	world_receive_frame(&w, 3, FRAME_GOAWAY, 0, 0, NULL, 0); /* accepts nothing new */
	assert_null(world_online(&w, "a"));
	world_disconnect(&w, 2);
	assert_null(world_online(&w, "b"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_small_exchange),
		TEST(test_unknown_and_offline),
		TEST(test_names_are_remembered_within_a_bound),
		TEST(test_no_waiting_at_all),
		TEST(test_queue_is_bounded),
		TEST(test_a_young_broker_holds_a_queue_and_not_a_scan),
		TEST(test_fewest_running_then_in_turn),
		TEST(test_waiting_for_one_client_blocks_no_other),
		TEST(test_a_websocket_waits_for_no_request),
		TEST(test_a_websocket_counts_until_its_socket_is_closed),
		TEST(test_tunnel_lost),
		TEST(test_tunnel_lost_after_the_head),
		TEST(test_time_outs),
		TEST(test_caller_leaves),
		TEST(test_responder_dies),
		TEST(test_body_too_large),
		TEST(test_impossible_messages),
		TEST(test_another_brokers_exchange),
		TEST(test_drain),
		TEST(test_expired_tunnel),
		TEST(test_names_do_not_mix),
		cmocka_unit_test(test_legal_changes_of_an_exchange),
		TEST(test_a_new_request_overtakes_none_that_waits),
		TEST(test_presence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
