/* The queue of attempts to connect, with stand-ins for the loop, its handles and the clock. */
#include "client/connect_queue.h"

#include "common/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

/* --- stand-ins --- */

static uv_loop_t loop;
static uint64_t now_ms, due_ms;
static uv_idle_t *idle;
static uv_timer_t *timer;
static uv_idle_cb idle_callback;   /* NULL: stopped */
static uv_timer_cb timer_callback; /* likewise */

uint64_t uv_now(const uv_loop_t *l)
{
	assert_ptr_equal(l, &loop);
	return now_ms;
}

int uv_idle_init(uv_loop_t *l, uv_idle_t *handle)
{
	(void)l;
	idle = handle;
	return 0;
}

int uv_idle_start(uv_idle_t *handle, uv_idle_cb callback)
{
	assert_ptr_equal(handle, idle);
	idle_callback = callback;
	return 0;
}

int uv_idle_stop(uv_idle_t *handle)
{
	assert_ptr_equal(handle, idle);
	idle_callback = NULL;
	return 0;
}

int uv_timer_init(uv_loop_t *l, uv_timer_t *handle)
{
	(void)l;
	timer = handle;
	return 0;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t timeout, uint64_t repeat)
{
	assert_true(handle == timer && repeat == 0);
	timer_callback = callback;
	due_ms = now_ms + timeout;
	return 0;
}

int uv_is_active(const uv_handle_t *handle)
{
	assert_ptr_equal(handle, timer);
	return timer_callback != NULL;
}

void uv_close(uv_handle_t *handle, uv_close_cb callback)
{
	callback(handle);
}

static void turn(void)
{
	if (idle_callback != NULL)
		idle_callback(idle);
}

static void pass_ms(uint64_t ms)
{
	uv_timer_cb callback = timer_callback;

	now_ms += ms;
	if (callback == NULL || due_ms > now_ms)
		return;
	timer_callback = NULL;
	callback(timer);
}

/* --- its users --- */

enum { MANY = 300 };

struct user {
	struct connect_entry entry;
	int connects, expiries, reuses;
};

static struct connect_queue *queue;
static struct user users[MANY];
static size_t reusable; /* kept connections */

static bool on_reuse(void *ctx)
{
	struct user *u = ctx;

	if (reusable == 0)
		return false;
	reusable--;
	u->reuses++;
	connect_queue_leave(&u->entry);
	return true;
}

static void on_connect(void *ctx)
{
	((struct user *)ctx)->connects++;
}

static void on_expired(void *ctx)
{
	((struct user *)ctx)->expiries++;
}

static const struct connect_events requests = {on_reuse, on_connect, on_expired},
				   websockets = {NULL, on_connect, on_expired};

static size_t total(size_t offset)
{
	size_t sum = 0;

	for (size_t i = 0; i < MANY; i++)
		sum += (size_t) * (int *)((char *)&users[i] + offset);
	return sum;
}

#define TOTAL(member) total(offsetof(struct user, member))

static void join_all(void)
{
	for (size_t i = 0; i < MANY; i++)
		connect_queue_join(queue, &users[i].entry, i % 2 ? &websockets : &requests,
				   &users[i]);
}

static int set_up(void **state)
{
	(void)state;
	memset(users, 0, sizeof users);
	reusable = 0;
	idle_callback = NULL;
	timer_callback = NULL;
	queue = connect_queue_new(&loop);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < MANY; i++)
		connect_queue_leave(&users[i].entry);
	connect_queue_destroy(&queue);
	return queue == NULL ? 0 : -1;
}

/* --- tests --- */

static void test_a_bound_for_both_kinds(void **state)
{
	(void)state;
	join_all();
	assert_int_equal(TOTAL(connects), 0); /* never from within a call */
	turn();
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX);
	turn();
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX);
	assert_int_equal(users[0].connects + users[1].connects, 2); /* the oldest */
	connect_queue_leave(&users[1].entry);
	connect_queue_leave(&users[1].entry); /* counts once */
	turn();
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX + 1);
	assert_int_equal(users[CONNECT_QUEUE_ATTEMPTS_MAX].connects, 1);
}

static void test_one_that_waits_may_leave(void **state)
{
	(void)state;
	join_all();
	connect_queue_leave(&users[0].entry);
	turn();
	assert_int_equal(users[0].connects, 0);
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX);
}

/* A kept connection costs no attempt. The oldest request gets it, also while all places are in
 * use. */
static void test_reuse(void **state)
{
	(void)state;
	reusable = 2;
	join_all();
	turn();
	assert_int_equal(users[0].reuses + users[2].reuses, 2);
	assert_int_equal(users[0].connects, 0);
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX);
	reusable = 1;
	connect_queue_join(queue, &users[0].entry, &requests, &users[0]);
	turn();
	assert_int_equal(TOTAL(reuses), 3);
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX);
}

static void test_waiting_has_an_end(void **state)
{
	(void)state;
	join_all();
	turn();
	pass_ms(5000);
	connect_queue_leave(&users[MANY - 1].entry);
	connect_queue_join(queue, &users[MANY - 1].entry, &websockets, &users[MANY - 1]);
	turn();
	pass_ms(CONNECT_QUEUE_WAIT_MS - 5001);
	assert_int_equal(TOTAL(expiries), 0);
	pass_ms(1);
	assert_int_equal(TOTAL(expiries), MANY - CONNECT_QUEUE_ATTEMPTS_MAX - 1);
	pass_ms(4999);
	assert_int_equal(users[MANY - 1].expiries, 0);
	pass_ms(1);
	assert_int_equal(users[MANY - 1].expiries, 1);
	assert_int_equal(TOTAL(connects), CONNECT_QUEUE_ATTEMPTS_MAX);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_bound_for_both_kinds),
		TEST(test_one_that_waits_may_leave),
		TEST(test_reuse),
		TEST(test_waiting_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
