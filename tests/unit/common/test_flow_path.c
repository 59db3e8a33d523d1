/* Windows that follow the path: both ends of one stream, or of several, joined by a simulated line
 * and a simulated clock. */
#include "common/bytes.h"
#include "common/flow.h"
#include "common/frame.h"
#include "common/window_budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

enum {
	FIRST = FRAME_WINDOW_BYTES,
	MIB = 1 << 20,
	SLOTS = 256, /* milliseconds that something may be under way */
	GBIT = 125000,
	MBIT = 125, /* bytes per millisecond */
	NO_LIMIT = 1 << 30,
};

/* One stream. The line sends `rate` bytes each millisecond, from a queue without an end. */
struct line {
	struct flow sender, receiver;
	int64_t now_ms, rtt_ms, rate, reader_rate;
	int64_t queue, held, consumed, most_window, most_held, charge;
	int64_t data[SLOTS], grants[SLOTS]; /* by the millisecond of their arrival */
	struct window_budget *budget;
	struct window_share *share;
};

static struct window_budget budget;
static struct window_share share;

static void line_init(struct line *l, int64_t rtt_ms, int64_t rate, int64_t reader_rate)
{
	*l = (struct line){.now_ms = 1000,
			   .rtt_ms = rtt_ms,
			   .rate = rate,
			   .reader_rate = reader_rate,
			   .budget = &budget,
			   .share = &share,
			   .most_window = FIRST};
	flow_init(&l->sender, FIRST, 0);
	flow_init(&l->receiver, 0, FIRST);
}

static int set_up(void **state)
{
	(void)state;
	budget = (struct window_budget){.total_bytes = 64 * MIB};
	share = (struct window_share){0};
	return 0;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t take_slot(int64_t *slots, int64_t ms)
{
	int64_t value = slots[ms % SLOTS];

	slots[ms % SLOTS] = 0;
	return value;
}

static void send(struct line *l)
{
	uint8_t payload[4];

	put_be32(payload, (uint32_t)take_slot(l->grants, l->now_ms));
	assert_true(flow_on_window(&l->sender, payload, sizeof payload));
	l->queue += l->sender.send_bytes;
	flow_sent(&l->sender, (size_t)l->sender.send_bytes);
	int64_t sent = least(l->queue, l->rate);
	l->queue -= sent;
	l->data[(l->now_ms + l->rtt_ms / 2) % SLOTS] += sent;
}

static void receive(struct line *l)
{
	int64_t arrived = take_slot(l->data, l->now_ms);

	assert_true(flow_received(&l->receiver, (size_t)arrived));
	l->held += arrived;
	l->most_held = l->held > l->most_held ? l->held : l->most_held;
	int64_t bytes = least(l->held, l->reader_rate);
	l->held -= bytes;
	l->consumed += bytes;
	if (bytes > 0 &&
	    flow_consumed(&l->receiver, (size_t)bytes, (size_t)l->held, l->now_ms, l->rtt_ms) &&
	    window_budget_admits(l->budget, l->share, INT64_MAX, flow_growth_bytes(&l->receiver)))
		flow_grow(&l->receiver);
	int64_t window = l->receiver.window_bytes;
	l->most_window = window > l->most_window ? window : l->most_window;
	l->grants[(l->now_ms + l->rtt_ms / 2) % SLOTS] +=
		flow_grant(&l->receiver, INT64_MAX, (size_t)l->held);
	window_budget_charge(l->budget, l->share, &l->charge,
			     flow_extra_bytes(&l->receiver, (size_t)l->held));
	assert_true(l->held <= FIRST + l->charge);
	assert_true(l->budget->used_bytes <= l->budget->total_bytes);
}

/* Returns the bytes that were consumed in the meantime. */
static int64_t run(struct line *l, int64_t ms)
{
	int64_t before = l->consumed;

	for (int64_t i = 0; i < ms; i++) {
		l->now_ms++;
		send(l);
		receive(l);
	}
	return l->consumed - before;
}

/* After 20 round trips the line is full, and the window is at most three times what is under
 * way. */
static void expect_full(int64_t rtt_ms, int64_t rate)
{
	struct line l;

	set_up(NULL);
	line_init(&l, rtt_ms, rate, NO_LIMIT);
	run(&l, 20 * rtt_ms);
	int64_t got = run(&l, 1000);
	if (got < rate * 1000 * 9 / 10)
		fail_msg("%lld ms, %lld bytes/ms: %lld in a second, window %lld", (long long)rtt_ms,
			 (long long)rate, (long long)got, (long long)l.receiver.window_bytes);
	assert_true(l.most_window <= FIRST || l.most_window <= 3 * rate * rtt_ms);
}

static void test_fast_lines_are_filled(void **state)
{
	(void)state;
	expect_full(50, GBIT);
	expect_full(100, GBIT);
	expect_full(200, 500 * MBIT);
	expect_full(40, 100 * MBIT);
	expect_full(10, GBIT);
	expect_full(20, 10 * MBIT);
}

/* However long its queue is: the least round trip counts. */
static void test_a_slow_line(void **state)
{
	struct line l;

	(void)state;
	line_init(&l, 40, 10 * MBIT, NO_LIMIT);
	run(&l, 60000);
	assert_int_equal(l.most_window, FIRST);
	assert_true(budget.used_bytes == 0);
}

static void test_a_round_trip_that_is_unknown_or_none(void **state)
{
	struct line l;

	(void)state;
	line_init(&l, 0, GBIT, NO_LIMIT);
	run(&l, 2000);
	assert_int_equal(l.most_window, FIRST);
	line_init(&l, 1, GBIT, NO_LIMIT);
	run(&l, 2000);
	assert_int_equal(l.most_window, 2 * FIRST);
	line_init(&l, 1, 100 * MBIT, NO_LIMIT);
	run(&l, 2000);
	assert_int_equal(l.most_window, FIRST);
}

static void test_a_slow_reader(void **state)
{
	struct line l;

	(void)state;
	line_init(&l, 50, GBIT, 2000);
	run(&l, 10000);
	assert_int_equal(l.most_window, FIRST);
	line_init(&l, 50, GBIT, 20000);
	run(&l, 10000);
	assert_true(l.most_window <= 3 * 20000 * 50);
}

/* It holds its window and no more, and gives the budget back as it reads again. */
static void test_a_reader_that_freezes(void **state)
{
	struct line l;

	(void)state;
	line_init(&l, 50, GBIT, NO_LIMIT);
	run(&l, 1000);
	int64_t window = l.receiver.window_bytes;
	assert_true(window >= 8 * MIB);
	l.reader_rate = 0;
	run(&l, 10000);
	assert_true(l.held <= window && l.held >= window * 3 / 4);
	assert_true(l.charge == window - FIRST && budget.used_bytes == l.charge);
	l.reader_rate = 100;
	run(&l, 300000);
	assert_int_equal(l.receiver.window_bytes, FIRST);
	assert_true(l.charge == 0 && budget.used_bytes == 0);
	l.reader_rate = NO_LIMIT; /* and grows again */
	run(&l, 1000);
	assert_true(l.receiver.window_bytes >= 8 * MIB);
}

static void test_a_reader_that_alternates(void **state)
{
	struct line l;

	(void)state;
	line_init(&l, 50, GBIT, NO_LIMIT);
	run(&l, 1000);
	for (int i = 0; i < 20; i++) {
		l.reader_rate = 0;
		run(&l, 500);
		l.reader_rate = NO_LIMIT;
		assert_true(run(&l, 500) >= GBIT * 200);
	}
	assert_true(l.most_held <= l.most_window);
}

/* When the end has arrived, only what is still held counts. */
static void test_the_end(void **state)
{
	struct line l;

	(void)state;
	line_init(&l, 50, GBIT, NO_LIMIT);
	run(&l, 1000);
	assert_true(l.charge > 4 * MIB);
	flow_end(&l.receiver);
	assert_true(flow_extra_bytes(&l.receiver, 0) == 0);
	assert_true(flow_extra_bytes(&l.receiver, FIRST + 5) == 5);
	assert_false(flow_received(&l.receiver, 1));
	assert_true(flow_is_used(&l.receiver));
	assert_false(flow_is_used(&(struct flow){0}));
}

static void test_a_budget_that_is_spent(void **state)
{
	struct line l;

	(void)state;
	budget.total_bytes = MIB;
	line_init(&l, 50, GBIT, NO_LIMIT);
	run(&l, 1000);
	assert_int_equal(l.most_window, 2 * FIRST);
	assert_true(run(&l, 1000) >= 15 * FIRST); /* each round trip a window, or most of it */
	budget.total_bytes = 0;
	line_init(&l, 50, GBIT, NO_LIMIT);
	l.share = &(struct window_share){0};
	l.budget = &(struct window_budget){0};
	assert_true(run(&l, 1000) >= 10 * FIRST);
	assert_int_equal(l.most_window, FIRST);
}

/* Four streams each of three ids: nobody gets more than is left for the others, and all get
 * something. */
static void test_fair_shares(void **state)
{
	static struct line lines[12];
	static struct window_share shares[3];

	(void)state;
	memset(shares, 0, sizeof shares);
	for (size_t i = 0; i < 12; i++) {
		line_init(&lines[i], 100, GBIT, NO_LIMIT);
		lines[i].share = &shares[i / 4];
		run(&lines[i], 3000);
	}
	for (size_t i = 0; i < 3; i++)
		assert_true(shares[i].used_bytes >= 4 * MIB && shares[i].used_bytes <= 32 * MIB);
	assert_true(budget.used_bytes <= budget.total_bytes * 3 / 4 + 16 * MIB);
}

static void test_budget(void **state)
{
	struct window_budget b = {.total_bytes = 100};
	struct window_share one = {0}, other = {0};
	int64_t charged = 0, of_other = 0;

	(void)state;
	assert_true(window_budget_admits(&b, &one, 1000, 50));
	assert_false(window_budget_admits(&b, &one, 1000, 51)); /* as much as is left */
	assert_false(window_budget_admits(&b, &one, 49, 50));	/* its own limit */
	window_budget_charge(&b, &one, &charged, 50);
	assert_false(window_budget_admits(&b, &one, 1000, 1));
	assert_true(window_budget_admits(&b, &other, 1000, 25));
	assert_false(window_budget_admits(&b, &other, 1000, 26));
	window_budget_charge(&b, &other, &of_other, 25);
	window_budget_charge(&b, &one, &charged, 20);
	assert_true(b.used_bytes == 45 && one.used_bytes == 20 && other.used_bytes == 25);
	assert_true(charged == 20 && of_other == 25);
	b.total_bytes = 0;
	assert_false(window_budget_admits(&b, &one, 1000, 1));
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fast_lines_are_filled),
		TEST(test_a_slow_line),
		TEST(test_a_round_trip_that_is_unknown_or_none),
		TEST(test_a_slow_reader),
		TEST(test_a_reader_that_freezes),
		TEST(test_a_reader_that_alternates),
		TEST(test_the_end),
		TEST(test_a_budget_that_is_spent),
		TEST(test_fair_shares),
		TEST(test_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
