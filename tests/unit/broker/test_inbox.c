/* Pieces of messages become messages: at once, or by way of the decoder, which a stub stands
 * for. */
#include "broker/inbox.h"
#include "tests/fuzz/world.h"

#include <setjmp.h>
#include <stdarg.h>
/* after those that it needs */
#include <cmocka.h>

static struct world w;
static struct inbox in;
static size_t started, cancelled, decoded, given_bytes;
static void (*job_done)(void *ctx);
static void *job_ctx;
static char job; /* its address stands for a job */

struct decode_job *decoder_start(struct decoder *d, struct tunnel *t, struct buf *message,
				 void (*done)(void *ctx), void *ctx)
{
	(void)d;
	(void)t;
	started++;
	given_bytes = buf_bytes(message);
	buf_fini(message);
	job_done = done;
	job_ctx = ctx;
	return (struct decode_job *)&job;
}

void decoder_cancel(struct decode_job *j)
{
	assert_ptr_equal(j, &job);
	cancelled++;
}

static void on_decoded(struct inbox *i)
{
	assert_ptr_equal(i, &in);
	decoded++;
}

static void open_tunnel(const struct protocol *protocol)
{
	world_connect(&w, 0, protocol, "a");
	inbox_init(&in, NULL, w.sockets[0].tunnel, on_decoded);
}

static int set_up(void **state)
{
	(void)state;
	world_init(&w);
	started = cancelled = decoded = given_bytes = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	inbox_drop(&in);
	world_fini(&w);
	return 0;
}

static void receive(size_t bytes, bool final)
{
	uint8_t *piece = xcalloc(1, bytes);

	inbox_receive(&in, piece, bytes, final);
	free(piece);
}

static void test_pieces(void **state)
{
	const struct tunnel *t;

	(void)state;
	open_tunnel(&protocol_v1);
	t = w.sockets[0].tunnel;
	receive(1000, false);
	receive(2000, false);
	assert_int_equal(t->message_bytes, 3000);
	assert_true(t->unfinished);
	receive(1, true); /* small: decoded at once, and no response */
	assert_int_equal(started, 0);
	assert_int_equal(t->message_bytes, 0);
	assert_int_equal(hub_stats(w.hub)->messages_refused_total, 1);
	receive(10, true);
	assert_int_equal(hub_stats(w.hub)->messages_refused_total, 2);
}

static void test_large_messages_are_decoded_elsewhere(void **state)
{
	(void)state;
	open_tunnel(&protocol_v1);
	receive(65536, false);
	receive(1, true);
	assert_int_equal(started, 1);
	assert_int_equal(given_bytes, 65537);
	assert_true(inbox_is_busy(&in));
	job_done(job_ctx);
	assert_int_equal(decoded, 1);
	assert_false(inbox_is_busy(&in));

	receive(65536, false);
	receive(1, true);
	inbox_drop(&in); /* while it is being decoded */
	assert_int_equal(cancelled, 1);
	assert_false(inbox_is_busy(&in));
	inbox_drop(&in);
	assert_int_equal(cancelled, 1);
}

static void test_v2_is_not_decoded(void **state)
{
	(void)state;
	open_tunnel(&protocol_v2);
	receive(65536, false);
	receive(1, true); /* no frame */
	assert_int_equal(started, 0);
	assert_int_equal(w.sockets[0].close_code, 1002);
}

static void test_too_big(void **state)
{
	(void)state;
	open_tunnel(&protocol_v1);
	receive(tunnel_message_max_bytes(w.sockets[0].tunnel), false);
	assert_false(w.sockets[0].closing);
	receive(1, true);
	assert_int_equal(w.sockets[0].close_code, 1009);
	assert_int_equal(started, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pieces),
		TEST(test_large_messages_are_decoded_elsewhere),
		TEST(test_v2_is_not_decoded),
		TEST(test_too_big),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
