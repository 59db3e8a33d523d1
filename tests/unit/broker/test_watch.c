/* When a WebSocket gets a Ping, and when it is cut: with a clock and a socket of the test's. */
#include "broker/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after those that it needs */
#include <cmocka.h>

enum {
	SOCKETS = WATCH_REFUSED_MAX + 2,
	START_MS = 1000,
};

static struct socket {
	struct watched watched;
	int pings, cuts, alives;
	int64_t unsent_bytes;
	bool ended, stuck; /* the Ping cannot be written yet */
} sockets[SOCKETS];

static struct watch w;
static int64_t now_ms;

static struct socket *owner(const struct watched *s)
{
	return OWNER_OF(s, struct socket, watched);
}

static void on_alive(struct watched *s)
{
	owner(s)->alives++;
}

static void on_ping(struct watched *s)
{
	owner(s)->pings++;
	if (!owner(s)->stuck)
		watch_ping_sent(s);
}

static void on_cut(struct watched *s)
{
	assert_null(s->list); /* nothing can cut it twice */
	owner(s)->cuts++;
}

static int64_t on_unsent_bytes(const struct watched *s)
{
	return owner(s)->unsent_bytes;
}

static bool on_has_ended(const struct watched *s)
{
	return owner(s)->ended;
}

static const struct watch_calls calls = {
	.alive = on_alive,
	.ping = on_ping,
	.cut = on_cut,
	.has_ended = on_has_ended,
	.unsent_bytes = on_unsent_bytes,
};

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < SOCKETS; i++)
		sockets[i] = (struct socket){0};
	w = (struct watch){.calls = &calls};
	now_ms = START_MS;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	watch_fini(&w);
	return 0;
}

static void later(int64_t ms)
{
	now_ms += ms;
	watch_tick(&w, now_ms);
}

static void expect(const struct socket *s, int pings, int cuts)
{
	assert_int_equal(s->pings, pings);
	assert_int_equal(s->cuts, cuts);
}

static void start(struct socket *s)
{
	watch_start(&w, &s->watched, now_ms);
}

static void test_a_silent_peer_is_cut(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	later(WATCH_PING_AFTER_MS - 1);
	expect(s, 0, 0);
	later(1);
	expect(s, 1, 0);
	later(WATCH_PONG_WITHIN_MS - 1);
	expect(s, 1, 0);
	later(1);
	expect(s, 1, 1);
	later(INT32_MAX);
	expect(s, 1, 1);
}

static void test_a_peer_that_sends_gets_no_ping(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	for (int i = 0; i < 10; i++) {
		now_ms += WATCH_PING_AFTER_MS - 1;
		s->watched.received_ms = now_ms;
		watch_tick(&w, now_ms);
	}
	expect(s, 0, 0);
	later(WATCH_PING_AFTER_MS);
	expect(s, 1, 0);
}

static void test_a_pong_starts_the_wait_again(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	later(WATCH_PING_AFTER_MS);
	now_ms += 5;
	s->watched.received_ms = now_ms;
	int alives = s->alives;
	later(WATCH_PONG_WITHIN_MS);
	assert_int_equal(s->alives, alives + 1);
	expect(s, 1, 0);
	later(WATCH_PING_AFTER_MS - WATCH_PONG_WITHIN_MS - 1);
	expect(s, 1, 0);
	later(1); /* counted from the Pong */
	expect(s, 2, 0);
}

/* A Pong waits behind a large download on a slow line: the peer's kernel takes what was written
 * before. */
static void test_a_peer_that_takes_data_is_alive(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	s->watched.written_bytes = 1000;
	s->unsent_bytes = 1000;
	later(WATCH_PING_AFTER_MS);
	s->unsent_bytes = 999;
	later(WATCH_PONG_WITHIN_MS);
	expect(s, 1, 0); /* one Ping is enough */
	s->unsent_bytes = 0;
	later(WATCH_PONG_WITHIN_MS);
	expect(s, 1, 0);
	later(WATCH_PONG_WITHIN_MS); /* it had all, and has not answered */
	expect(s, 1, 1);
}

/* The kernel of a frozen process goes on taking small requests. */
static void test_what_is_written_behind_the_ping_proves_nothing(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	s->watched.written_bytes = 1000;
	later(WATCH_PING_AFTER_MS);
	s->watched.written_bytes = 2000;
	later(WATCH_PONG_WITHIN_MS);
	expect(s, 1, 1);
}

static void test_a_slow_peer_that_stops_is_cut(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	s->watched.written_bytes = 1000;
	s->unsent_bytes = 900;
	later(WATCH_PING_AFTER_MS);
	s->unsent_bytes = 800;
	later(WATCH_PONG_WITHIN_MS);
	expect(s, 1, 0);
	s->watched.written_bytes = 5000;
	s->unsent_bytes = 4800;
	later(WATCH_PONG_WITHIN_MS);
	expect(s, 1, 1);
}

/* The Ping itself has to wait until the kernel takes more. */
static void test_a_ping_that_waits(void **state)
{
	struct socket *s = &sockets[0];

	(void)state;
	start(s);
	s->stuck = true;
	later(WATCH_PING_AFTER_MS);
	for (int i = 0; i < 3; i++) {
		s->watched.written_bytes += 1000;
		later(WATCH_PONG_WITHIN_MS);
		expect(s, 1, 0);
	}
	watch_ping_sent(&s->watched);
	later(WATCH_PONG_WITHIN_MS);
	expect(s, 1, 1);
}

static void test_a_peer_that_ends_while_nothing_is_read(void **state)
{
	struct socket *early = &sockets[0], *late = &sockets[1], *stays = &sockets[2];

	(void)state;
	for (int i = 0; i < 3; i++) {
		start(&sockets[i]);
		watch_pause(&w, &sockets[i].watched, true, now_ms);
	}
	early->ended = true;
	later(WATCH_PING_AFTER_MS);
	expect(early, 0, 1);
	late->ended = true;
	later(WATCH_PONG_WITHIN_MS);
	expect(late, 1, 1);
	expect(stays, 2, 0);
}

static void test_while_nothing_is_read(void **state)
{
	struct socket *acks = &sockets[0], *hangs = &sockets[1], *resumes = &sockets[2];

	(void)state;
	for (int i = 0; i < 3; i++) {
		start(&sockets[i]);
		watch_pause(&w, &sockets[i].watched, true, now_ms);
		sockets[i].watched.written_bytes = 10;
	}
	later(WATCH_PING_AFTER_MS);
	hangs->unsent_bytes = 1; /* of the Ping */
	now_ms += WATCH_PONG_WITHIN_MS - 1;
	watch_pause(&w, &resumes->watched, false, now_ms); /* its Pong may lie unread */
	later(1);
	expect(acks, 2, 0);
	expect(hangs, 1, 1);
	expect(resumes, 1, 0);
	later(WATCH_PONG_WITHIN_MS - 2);
	expect(resumes, 1, 0);
	later(1);
	expect(resumes, 1, 1);
}

static void test_closing(void **state)
{
	struct socket *cut = &sockets[0], *gone = &sockets[1];

	(void)state;
	start(cut);
	start(gone);
	watch_closing(&w, &cut->watched, now_ms);
	watch_closing(&w, &gone->watched, now_ms);
	later(WATCH_CLOSE_WAIT_MS - 1);
	expect(cut, 0, 0);
	watch_stop(&w, &gone->watched);
	watch_stop(&w, &gone->watched);
	later(1);
	expect(cut, 0, 1);
	later(INT32_MAX);
	expect(cut, 0, 1);
	expect(gone, 0, 0);
}

static void test_the_oldest_refused_one_makes_room(void **state)
{
	(void)state;
	for (int i = 0; i < WATCH_REFUSED_MAX; i++) {
		watch_refused(&w, &sockets[i].watched, now_ms++);
		expect(&sockets[0], 0, 0);
	}
	watch_refused(&w, &sockets[WATCH_REFUSED_MAX].watched, now_ms++);
	expect(&sockets[0], 0, 1);
	expect(&sockets[1], 0, 0);
	watch_stop(&w, &sockets[5].watched); /* it has gone by itself */
	watch_refused(&w, &sockets[WATCH_REFUSED_MAX + 1].watched, now_ms);
	expect(&sockets[1], 0, 0);
	later(WATCH_CLOSE_WAIT_MS);
	for (int i = 0; i < SOCKETS; i++)
		expect(&sockets[i], 0, i != 5);
	assert_int_equal(w.refused_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_silent_peer_is_cut),
		TEST(test_a_peer_that_sends_gets_no_ping),
		TEST(test_a_pong_starts_the_wait_again),
		TEST(test_a_peer_that_takes_data_is_alive),
		TEST(test_what_is_written_behind_the_ping_proves_nothing),
		TEST(test_a_slow_peer_that_stops_is_cut),
		TEST(test_a_ping_that_waits),
		TEST(test_while_nothing_is_read),
		TEST(test_a_peer_that_ends_while_nothing_is_read),
		TEST(test_closing),
		TEST(test_the_oldest_refused_one_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
