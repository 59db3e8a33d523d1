/* Connections that wait for another request, with stand-ins for connections, timers and the
 * clock. */
#include "client/conn_pool.h"

#include "common/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

/* --- stand-ins --- */

struct conn {
	bool quiet;
	const struct conn_events *events;
	void *ctx;
};

static int open_wires;
static struct conn *resting; /* the last one handed over */

static struct conn *new_wire(void)
{
	struct conn *w = xcalloc(1, sizeof *w);

	w->quiet = true;
	open_wires++;
	return w;
}

void conn_close(struct conn **wp)
{
	free(*wp);
	*wp = NULL;
	open_wires--;
}

bool conn_is_quiet(struct conn *w)
{
	return w->quiet;
}

void conn_hand_over(struct conn *w, const struct conn_events *events, void *ctx)
{
	w->events = events;
	w->ctx = ctx;
	resting = w;
}

void conn_watch(struct conn *w, bool read, bool write)
{
	assert_true(w != NULL && read && !write);
}

static uv_loop_t loop;
static uint64_t now_ms;

static struct {
	uv_timer_t *handle;
	uv_timer_cb callback; /* NULL: stopped */
	uint64_t due_ms;
} timers[2];

static size_t timer_index(const uv_timer_t *handle)
{
	return timers[0].handle == handle ? 0 : 1;
}

uint64_t uv_now(const uv_loop_t *l)
{
	assert_ptr_equal(l, &loop);
	return now_ms;
}

int uv_timer_init(uv_loop_t *l, uv_timer_t *handle)
{
	(void)l;
	timers[timers[0].handle == NULL ? 0 : 1].handle = handle;
	return 0;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t timeout, uint64_t repeat)
{
	assert_int_equal(repeat, 0);
	timers[timer_index(handle)].callback = callback;
	timers[timer_index(handle)].due_ms = now_ms + timeout;
	return 0;
}

int uv_timer_stop(uv_timer_t *handle)
{
	timers[timer_index(handle)].callback = NULL;
	return 0;
}

int uv_is_active(const uv_handle_t *handle)
{
	return timers[timer_index((const uv_timer_t *)handle)].callback != NULL;
}

void uv_close(uv_handle_t *handle, uv_close_cb callback)
{
	timers[timer_index((uv_timer_t *)handle)].callback = NULL;
	callback(handle);
}

static void pass_ms(uint64_t ms)
{
	for (uint64_t end = now_ms + ms; now_ms < end;) {
		now_ms++;
		for (size_t i = 0; i < 2; i++) {
			uv_timer_cb callback = timers[i].callback;
			if (callback == NULL || timers[i].due_ms > now_ms)
				continue;
			timers[i].callback = NULL;
			callback(timers[i].handle);
		}
	}
}

/* --- a pool --- */

static struct conn_pool *pool;

static int set_up(void **state)
{
	(void)state;
	memset(timers, 0, sizeof timers);
	now_ms = 1000000;
	open_wires = 0;
	pool = conn_pool_new(&loop, true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	conn_pool_destroy(&pool);
	assert_int_equal(open_wires, 0);
	return 0;
}

/* A connection that has carried so many. */
static struct conn *put(unsigned uses)
{
	struct conn *w = new_wire(), *copy = w;

	conn_pool_put(pool, &w, uses);
	assert_null(w);
	return copy;
}

/* How many requests the one that it gives has carried. 0: it gives none. */
static unsigned take(void)
{
	unsigned uses = 0;
	struct conn *w = conn_pool_take(pool, &uses);

	if (w == NULL)
		return 0;
	conn_close(&w);
	return uses;
}

/* Connections that stayed open show that so many requests are fine. */
static void prove(unsigned uses)
{
	for (unsigned i = 1; i <= uses; i++) {
		put(i);
		pass_ms(200);
		assert_int_equal(take(), i);
	}
}

static void something_shows(struct conn *w, bool quiet)
{
	w->quiet = quiet;
	w->events->ready(w->ctx);
}

static void test_first_connection_rests(void **state)
{
	(void)state;
	assert_int_equal(take(), 0);
	put(1);
	assert_int_equal(open_wires, 1);
	pass_ms(199);
	assert_int_equal(take(), 0);
	put(1); /* one rests at a time */
	assert_int_equal(open_wires, 1);
	/* a request had to do without it: an app that serves one connection at a time waits for
	 * its end */
	pass_ms(1);
	assert_int_equal(open_wires, 0);
	put(1); /* but it has shown that one request is fine */
	assert_int_equal(take(), 1);
	put(2);
	assert_int_equal(open_wires, 1);
	pass_ms(20);
	assert_int_equal(open_wires, 1);
	assert_int_equal(take(), 2);
}

static void test_close_behind_each_response(void **state)
{
	(void)state;
	something_shows(put(1), false);
	assert_int_equal(open_wires, 0);
	assert_false(conn_pool_keeps(pool));
	put(1);
	assert_int_equal(open_wires, 0);
	pass_ms(60 * 1000);
	assert_true(conn_pool_keeps(pool));
	put(1)->quiet = false; /* its event is still to come */
	pass_ms(200);
	assert_int_equal(open_wires, 0);
	pass_ms(60 * 1000);
	assert_false(conn_pool_keeps(pool)); /* twice as long */
	pass_ms(60 * 1000);
	assert_true(conn_pool_keeps(pool));
}

static void test_pause_grows_and_shrinks(void **state)
{
	uint64_t minutes = 1;

	(void)state;
	for (int i = 0; i < 10; i++) {
		conn_pool_distrust(pool, "test");
		conn_pool_distrust(pool, "once more");
		pass_ms(minutes * 60 * 1000 - 1);
		assert_false(conn_pool_keeps(pool));
		pass_ms(1);
		assert_true(conn_pool_keeps(pool));
		minutes = minutes < 30 ? minutes * 2 : 60;
	}
	pass_ms(60 * 60 * 1000);
	conn_pool_distrust(pool, "after an hour that went well");
	pass_ms(60 * 1000);
	assert_true(conn_pool_keeps(pool));
}

static void test_oldest_first(void **state)
{
	(void)state;
	prove(3);
	put(1);
	put(2);
	put(3);
	assert_int_equal(take(), 1);
	put(1);
	assert_int_equal(take(), 2);
	assert_int_equal(take(), 3);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 0);
}

static void test_bounds(void **state)
{
	(void)state;
	prove(99);
	put(100);
	assert_int_equal(open_wires, 0);
	put(99);
	pass_ms(999);
	assert_int_equal(open_wires, 1);
	pass_ms(1);
	assert_int_equal(open_wires, 0);
	put(1);
	now_ms += 1000; /* the timer is late */
	assert_int_equal(take(), 0);
	for (int i = 0; i < 600; i++)
		put(1);
	assert_int_equal(open_wires, 512);
	conn_pool_distrust(pool, "test");
	assert_int_equal(open_wires, 0);
}

static void test_something_shows_on_a_kept_one(void **state)
{
	(void)state;
	prove(1);
	put(1);
	something_shows(put(1), true); /* a TLS session ticket */
	assert_int_equal(open_wires, 2);
	resting->quiet = false;
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 0); /* not that one, nor another */
	assert_int_equal(open_wires, 0);
	assert_false(conn_pool_keeps(pool));
}

static void test_readable_behind_its_response(void **state)
{
	struct conn *w = new_wire();

	(void)state;
	prove(1);
	put(1);
	w->quiet = false;
	conn_pool_put(pool, &w, 1);
	assert_int_equal(open_wires, 0);
	assert_false(conn_pool_keeps(pool));
}

static void test_none_is_kept(void **state)
{
	(void)state;
	conn_pool_destroy(&pool);
	memset(timers, 0, sizeof timers);
	pool = conn_pool_new(&loop, false);
	assert_false(conn_pool_keeps(pool));
	put(1);
	assert_int_equal(open_wires, 0);
	conn_pool_distrust(pool, "test");
	pass_ms(60 * 60 * 1000);
	assert_false(conn_pool_keeps(pool));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_connection_rests),
		TEST(test_close_behind_each_response),
		TEST(test_pause_grows_and_shrinks),
		TEST(test_oldest_first),
		TEST(test_bounds),
		TEST(test_something_shows_on_a_kept_one),
		TEST(test_readable_behind_its_response),
		TEST(test_none_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
