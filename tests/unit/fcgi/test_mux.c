/* fcgi/mux.c, fcgi/ask.c, fcgi/gate_link.c: each ask gets one reply, from the broker or in its
 * place. The broker is a ROUTER of the test's own. */
#include "common/clock.h"
#include "common/id.h"
#include "fcgi/ask.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

enum { SEATS = 8, PATIENCE_MS = 60000 };

static char directory[] = "/tmp/pipegate-mux-XXXXXX";
static char endpoint[80];
static unsigned replies; /* a bit for each seat that on_reply() named */

static void on_reply(void *ctx, uint16_t seat)
{
	(void)ctx;
	replies |= 1u << seat;
}

static struct mux *open_mux(int *epoll_fd)
{
	char why[160];
	struct mux *m = mux_new(endpoint, SEATS, on_reply, NULL, why, sizeof why);

	assert_non_null(m);
	*epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	mux_watch(m, *epoll_fd, m);
	replies = 0;
	return m;
}

/* Works until on_reply() has named all of `seats`. */
static void wait_for_replies(struct mux *m, int epoll_fd, unsigned seats)
{
	int64_t until_ms = clock_now_ms() + PATIENCE_MS;

	for (;;) {
		struct epoll_event events[8];
		mux_work(m);
		if ((replies & seats) == seats)
			return;
		assert_true(clock_now_ms() < until_ms);
		int wait_ms = mux_timeout_ms(m);
		if (epoll_wait(epoll_fd, events, 8, wait_ms < 0 ? PATIENCE_MS : wait_ms) > 0)
			mux_woken(m);
	}
}

/* Works until the broker can read a message; the message and its envelope. */
struct arrival {
	zmq_msg_t parts[2];
	struct gate_msg m;
};

static void receive_any(void *broker, struct mux *m, struct arrival *a)
{
	int64_t until_ms = clock_now_ms() + PATIENCE_MS;
	int count = 0, more = 1;

	while (count == 0 || more) {
		zmq_msg_init(&a->parts[count]);
		if (zmq_msg_recv(&a->parts[count], broker, count ? 0 : ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&a->parts[count]);
			assert_true(clock_now_ms() < until_ms);
			mux_work(m);
			poll(NULL, 0, 1);
			continue;
		}
		more = zmq_msg_more(&a->parts[count++]);
	}
	assert_int_equal(count, 2); /* the link, the message: one part on the wire */
	assert_true(gate_msg_decode(zmq_msg_data(&a->parts[1]), zmq_msg_size(&a->parts[1]), &a->m));
}

/* Receives what an ask has sent. */
static void receive(void *broker, struct mux *m, struct arrival *a)
{
	receive_any(broker, m, a);
	while (a->m.kind == GATE_ALIVE) {
		for (int i = 0; i < 2; i++)
			zmq_msg_close(&a->parts[i]);
		receive_any(broker, m, a);
	}
}

static void reply_with(void *broker, struct arrival *a, uint8_t kind, uint8_t flags, enum fail f)
{
	struct gate_msg m = {
		.kind = kind, .flags = flags, .fail = (uint8_t)f, .boot = 7, .seat = a->m.seat};
	uint8_t wire[GATE_CONTROL_BYTES];

	memcpy(m.corr, a->m.corr, CORR_BYTES);
	gate_msg_encode(&m, wire);
	assert_true(zmq_msg_send(&a->parts[0], broker, ZMQ_SNDMORE) >= 0);
	assert_int_equal(zmq_send(broker, wire, sizeof wire, 0), sizeof wire);
	zmq_msg_close(&a->parts[1]);
}

static void reply(void *broker, struct arrival *a, uint8_t kind, uint8_t flags)
{
	reply_with(broker, a, kind, flags, FAIL_NONE);
}

static void *open_broker(void *context)
{
	void *broker = zmq_socket(context, ZMQ_ROUTER);
	int linger_ms = 0;

	zmq_setsockopt(broker, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	assert_int_equal(zmq_bind(broker, endpoint), 0);
	return broker;
}

static struct gate_msg message(uint8_t kind)
{
	struct gate_msg m = {.kind = kind};

	id_random(m.corr, sizeof m.corr);
	return m;
}

static void replies_go_to_who_asked_in_any_order(void **unused)
{
	void *context = zmq_ctx_new(), *broker = open_broker(context);
	struct ask *asks[3];
	struct gate_msg sent[3], got;
	struct arrival arrivals[3];
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);

	(void)unused;
	for (uint16_t i = 0; i < 3; i++) {
		asks[i] = ask_new(m, i);
		assert_non_null(asks[i]);
		sent[i] = message(GATE_PING);
		ask_send(asks[i], &sent[i]);
	}
	for (int i = 0; i < 3; i++)
		receive(broker, m, &arrivals[i]);
	for (int i = 2; i >= 0; i--)
		reply(broker, &arrivals[i], GATE_PONG, 0);
	wait_for_replies(m, epoll_fd, 7);
	for (int i = 0; i < 3; i++) {
		ask_receive(asks[i], &got);
		assert_int_equal(got.kind, GATE_PONG);
		assert_memory_equal(got.corr, sent[i].corr, CORR_BYTES);
		ask_destroy(&asks[i]);
	}
	mux_destroy(&m);
	close(epoll_fd);
	zmq_close(broker);
	zmq_ctx_term(context);
}

static void a_request_without_a_broker_is_surely_not_delivered(void **unused)
{
	struct gate_msg sent = message(GATE_OPEN), got;
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *a = ask_new(m, 0);

	(void)unused;
	ask_send(a, &sent);
	wait_for_replies(m, epoll_fd, 1);
	ask_receive(a, &got);
	assert_int_equal(got.fail, FAIL_BROKER_UNAVAILABLE);
	assert_int_equal(got.flags, GATE_FAILED);
	assert_memory_equal(got.corr, sent.corr, CORR_BYTES);
	ask_destroy(&a);
	mux_destroy(&m);
	close(epoll_fd);
}

static void a_request_that_waits_is_sent_once_the_broker_is_there(void **unused)
{
	void *context = zmq_ctx_new();
	struct gate_msg sent = message(GATE_PING), got;
	struct arrival arrival;
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *a = ask_new(m, 5);

	(void)unused;
	ask_send(a, &sent);
	mux_work(m);
	void *broker = open_broker(context);
	receive(broker, m, &arrival);
	reply(broker, &arrival, GATE_PONG, 0);
	wait_for_replies(m, epoll_fd, 1u << 5);
	ask_receive(a, &got);
	assert_int_equal(got.kind, GATE_PONG);
	ask_destroy(&a);
	mux_destroy(&m);
	close(epoll_fd);
	zmq_close(broker);
	zmq_ctx_term(context);
}

/* Something that was sent may have been delivered when the broker goes. */
static void a_broker_that_goes_ends_what_it_had(void **unused)
{
	void *context = zmq_ctx_new(), *broker = open_broker(context);
	struct gate_msg sent = message(GATE_OPEN), got;
	struct arrival arrival;
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *a = ask_new(m, 1);

	(void)unused;
	ask_send(a, &sent);
	receive(broker, m, &arrival);
	for (int i = 0; i < 2; i++)
		zmq_msg_close(&arrival.parts[i]);
	zmq_close(broker);
	wait_for_replies(m, epoll_fd, 2);
	ask_receive(a, &got);
	assert_int_equal(got.fail, FAIL_BROKER_UNAVAILABLE);
	assert_int_equal(got.flags, GATE_FAILED | GATE_ACCEPTED | GATE_MAYBE_DELIVERED);
	ask_destroy(&a);
	mux_destroy(&m);
	close(epoll_fd);
	zmq_ctx_term(context);
}

/* What a broker that stops refuses, and every new request after that, is for the next broker, body
 * and all. What it may have sent to a tunnel is not. */
static void a_broker_that_stops_loses_nothing(void **unused)
{
	static const uint8_t flags[] = {GATE_FAILED, GATE_FAILED | GATE_ACCEPTED};
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *first = ask_new(m, 0), *second = ask_new(m, 1), *begun = ask_new(m, 2);

	(void)unused;
	for (size_t i = 0; i < sizeof flags; i++) {
		void *context = zmq_ctx_new(), *broker = open_broker(context);
		struct gate_msg sent = message(GATE_OPEN), later = message(GATE_OPEN),
				other = message(GATE_OPEN), got;
		struct arrival arrival;
		sent.body = (const uint8_t *)"the body";
		sent.body_bytes = 8;
		replies = 0;
		ask_send(first, &sent);
		receive(broker, m, &arrival);
		ask_send(begun, &other);
		struct arrival of_begun;
		receive(broker, m, &of_begun);
		reply_with(broker, &arrival, GATE_REPLY, flags[i], FAIL_SHUTTING_DOWN);
		reply_with(broker, &of_begun, GATE_REPLY,
			   GATE_FAILED | GATE_ACCEPTED | GATE_MAYBE_DELIVERED, FAIL_SHUTTING_DOWN);
		wait_for_replies(m, epoll_fd, 4);
		ask_receive(begun, &got);
		assert_int_equal(got.fail, FAIL_SHUTTING_DOWN);
		assert_int_equal(replies, 4);
		/* A new one does not go to it: see below, where both arrive. */
		ask_send(second, &later);
		for (int turn = 0; turn < 5; turn++) {
			mux_work(m);
			assert_int_equal(replies, 4);
		}
		zmq_close(broker);
		zmq_ctx_term(context); /* waits until its socket is gone */
		context = zmq_ctx_new();
		broker = open_broker(context);
		struct arrival again[2];
		receive(broker, m, &again[0]);
		receive(broker, m, &again[1]);
		bool swapped = memcmp(again[0].m.corr, sent.corr, CORR_BYTES) != 0;
		assert_memory_equal(again[swapped].m.corr, sent.corr, CORR_BYTES);
		assert_memory_equal(again[!swapped].m.corr, later.corr, CORR_BYTES);
		assert_int_equal(again[swapped].m.body_bytes, 8);
		assert_memory_equal(again[swapped].m.body, "the body", 8);
		for (int j = 0; j < 2; j++)
			reply(broker, &again[j], GATE_REPLY, GATE_RESPONSE_END);
		wait_for_replies(m, epoll_fd, 3);
		ask_receive(first, &got);
		assert_int_equal(got.flags, GATE_RESPONSE_END);
		ask_receive(second, &got);
		assert_int_equal(got.flags, GATE_RESPONSE_END);
		zmq_close(broker);
		zmq_ctx_term(context);
	}
	ask_destroy(&first);
	ask_destroy(&second);
	ask_destroy(&begun);
	mux_destroy(&m);
	close(epoll_fd);
}

/* There is no next one: the caller hears why. */
static void a_broker_that_stops_and_stays_away(void **unused)
{
	void *context = zmq_ctx_new(), *broker = open_broker(context);
	struct gate_msg sent = message(GATE_OPEN), got;
	struct arrival arrival;
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *a = ask_new(m, 0);

	(void)unused;
	ask_send(a, &sent);
	receive(broker, m, &arrival);
	reply_with(broker, &arrival, GATE_REPLY, GATE_FAILED, FAIL_SHUTTING_DOWN);
	wait_for_replies(m, epoll_fd, 1);
	ask_receive(a, &got);
	assert_int_equal(got.fail, FAIL_SHUTTING_DOWN);
	assert_int_equal(got.flags, GATE_FAILED);
	ask_destroy(&a);
	mux_destroy(&m);
	close(epoll_fd);
	zmq_close(broker);
	zmq_ctx_term(context);
}

static void a_reply_with_another_correlation_id_is_ignored(void **unused)
{
	void *context = zmq_ctx_new(), *broker = open_broker(context);
	struct gate_msg sent = message(GATE_PING), got;
	struct arrival first, again;
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *a = ask_new(m, 0);

	(void)unused;
	ask_send(a, &sent);
	receive(broker, m, &first);
	for (int i = 0; i < 2; i++) {
		zmq_msg_init(&again.parts[i]);
		zmq_msg_copy(&again.parts[i], &first.parts[i]);
	}
	again.m = first.m;
	again.m.corr[0] ^= 1;
	reply(broker, &again, GATE_PONG, 0);
	reply(broker, &first, GATE_PONG, 0);
	wait_for_replies(m, epoll_fd, 1);
	ask_receive(a, &got);
	assert_memory_equal(got.corr, sent.corr, CORR_BYTES);
	ask_destroy(&a);
	mux_destroy(&m);
	close(epoll_fd);
	zmq_close(broker);
	zmq_ctx_term(context);
}

/* A reply for a seat that waits for nothing, or that does not exist, reaches nobody. */
static void a_reply_for_another_seat_is_ignored(void **unused)
{
	static const uint16_t others[] = {1, SEATS, UINT16_MAX};
	void *context = zmq_ctx_new(), *broker = open_broker(context);
	struct gate_msg sent = message(GATE_PING), got;
	struct arrival first, again;
	int epoll_fd;
	struct mux *m = open_mux(&epoll_fd);
	struct ask *a = ask_new(m, 0);

	(void)unused;
	ask_send(a, &sent);
	receive(broker, m, &first);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		for (int part = 0; part < 2; part++) {
			zmq_msg_init(&again.parts[part]);
			zmq_msg_copy(&again.parts[part], &first.parts[part]);
		}
		again.m = first.m;
		again.m.seat = others[i];
		reply(broker, &again, GATE_REPLY, GATE_FAILED);
	}
	reply(broker, &first, GATE_PONG, 0);
	wait_for_replies(m, epoll_fd, 1);
	assert_int_equal(replies, 1);
	ask_receive(a, &got);
	assert_int_equal(got.kind, GATE_PONG);
	ask_destroy(&a);
	mux_destroy(&m);
	close(epoll_fd);
	zmq_close(broker);
	zmq_ctx_term(context);
}

static int make_directory(void **unused)
{
	(void)unused;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(endpoint, sizeof endpoint, "ipc://%s/gate.sock", directory);
	return 0;
}

static int remove_directory(void **unused)
{
	(void)unused;
	unlink(endpoint + 6);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_go_to_who_asked_in_any_order),
		cmocka_unit_test(a_request_without_a_broker_is_surely_not_delivered),
		cmocka_unit_test(a_request_that_waits_is_sent_once_the_broker_is_there),
		cmocka_unit_test(a_broker_that_goes_ends_what_it_had),
		cmocka_unit_test(a_broker_that_stops_loses_nothing),
		cmocka_unit_test(a_broker_that_stops_and_stays_away),
		cmocka_unit_test(a_reply_with_another_correlation_id_is_ignored),
		cmocka_unit_test(a_reply_for_another_seat_is_ignored),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
