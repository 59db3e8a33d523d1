/* client/fetch.c - see fetch.h.
 *
 *   fetch_start() -> connect_queue -> connecting, or an idle connection -> exchange -> end
 *
 * Both directions run concurrently: an app may send its response and close before it has read the
 * request. So after a failed write, input is read first. Once the response is complete, the fetch
 * ends, even if the rest of the request has not been sent.
 *
 * A response must never belong to another request. A connection is kept only if no bytes are left
 * in either direction and none of this exchange can arrive later: so not after a request with a
 * body (request_writer.c, leaves_connection_clean()), and not after a response for which
 * response_parser_keeps_open() returns false.
 *
 * A request is not sent again when its kept connection breaks before the first byte of the
 * response. Only a failed write proves that the app has not seen it. The kernel's count of
 * acknowledged bytes proves nothing: the kernel acknowledges late, Linux discards the
 * acknowledgement in a RST, and with a forwarder in between, it is the forwarder's kernel that
 * acknowledges. */
#include "client/fetch.h"

#include "client/response_parser.h"
#include "client/conn_pool.h"
#include "client/connect_queue.h"
#include "client/request_log.h"
#include "client/request_sender.h"
#include "client/conn.h"
#include "common/buf.h"
#include "common/log.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	PIECE_BYTES = FETCH_PIECE_BYTES,
	CONTINUE_WAIT_MS = 1000, /* for a 100 Continue */
	/* Limit per fetch, so that a fast app does not delay others. */
	READS_PER_TURN = 16,
};

TAILQ_HEAD(fetch_list, fetch);

struct fetch_engine {
	uv_loop_t *loop;
	const struct target *target;
	struct host_hint hint;
	struct dialer *dialer;
	struct conn_pool *pool;
	struct connect_queue *queue; /* for fetches without a connection, and WebSockets */
	struct fetch_list to_read;   /* have more to read in the next turn */
	size_t to_read_count;
	uv_idle_t next_turn;
	struct fetch_list awaiting_continue; /* wait for 100 Continue; earliest deadline first */
	uv_timer_t continue_timer;
	int open_handles;
	uint8_t in[PIECE_BYTES], out[REQUEST_SENDER_SCRATCH_BYTES];
};

struct fetch {
	TAILQ_ENTRY(fetch) link;
	bool awaits_continue; /* it is in engine->awaiting_continue */
	TAILQ_ENTRY(fetch) to_read_link;
	bool to_read;
	struct fetch_engine *engine;
	const struct fetch_events *events;
	void *ctx;
	struct connect_entry queue_entry; /* while it has no connection */
	struct conn *conn;		  /* NULL: waiting in the queue */
	bool connected;
	bool has_read; /* received a byte from the app */
	unsigned uses; /* earlier requests of this connection */
	char corr[REQUEST_LOG_CORR_BYTES];

	struct request_sender sender;
	uint64_t continue_ms;

	struct response_parser *parser;
	enum response_state state;
	struct buf in; /* received from the app, not yet parsed */
};

static void on_next_turn(uv_idle_t *idle);

/* --- lists --- */

static void stop_awaiting_continue(struct fetch *f)
{
	if (f->awaits_continue)
		TAILQ_REMOVE(&f->engine->awaiting_continue, f, link);
	f->awaits_continue = false;
}

static void read_next_turn(struct fetch *f)
{
	struct fetch_engine *e = f->engine;

	if (f->to_read)
		return;
	f->to_read = true;
	TAILQ_INSERT_TAIL(&e->to_read, f, to_read_link);
	e->to_read_count++;
	uv_idle_start(&e->next_turn, on_next_turn);
}

static void leave_to_read(struct fetch *f)
{
	if (!f->to_read)
		return;
	f->to_read = false;
	TAILQ_REMOVE(&f->engine->to_read, f, to_read_link);
	f->engine->to_read_count--;
}

/* --- the end --- */

static void fetch_free(struct fetch *f)
{
	stop_awaiting_continue(f);
	leave_to_read(f);
	connect_queue_leave(&f->queue_entry);
	conn_close(&f->conn);
	response_parser_destroy(&f->parser);
	request_sender_fini(&f->sender);
	buf_fini(&f->in);
	free(f);
}

/* Returns true if no byte of this exchange can follow on the connection. */
static bool is_reusable(const struct fetch *f)
{
	return f->state == RESPONSE_COMPLETE && response_parser_keeps_open(f->parser) &&
	       !f->sender.request.is_last && request_sender_is_complete(&f->sender);
}

/* Gives the connection to the pool, or tells the pool that the app cannot be trusted with idle
 * ones. */
static void keep_or_close(struct fetch *f)
{
	struct conn_pool *pool = f->engine->pool;

	if (f->uses > 0 && f->state == RESPONSE_CUT && !f->has_read)
		conn_pool_distrust(pool, "a kept connection was closed during a request");
	if (!is_reusable(f))
		return;
	if (buf_bytes(&f->in) > 0)
		conn_pool_distrust(pool, "the app sent more than its response");
	else
		conn_pool_put(pool, &f->conn, f->uses + 1);
}

static void finish(struct fetch *f, enum fail why)
{
	keep_or_close(f);
	f->events->end(f->ctx, why, f->sender.begun);
	fetch_free(f);
}

static void fail(struct fetch *f, enum fail why, const char *text)
{
	log_limited_info(text, "target.failed corr=%s why=\"%s\" head=%d", f->corr, text,
			 response_parser_status(f->parser));
	finish(f, why);
}

/* --- the response --- */

static void parse_held(struct fetch *f)
{
	size_t used;

	f->state = response_parser_feed(f->parser, buf_first(&f->in), buf_bytes(&f->in), &used);
	buf_consume(&f->in, used);
}

static void parse(struct fetch *f, size_t bytes)
{
	const uint8_t *data = f->engine->in;
	size_t used;

	f->state = response_parser_feed(f->parser, data, bytes, &used);
	buf_append(&f->in, data + used, bytes - used);
}

/* Reads until there is no more input, the owner accepts no more, or READS_PER_TURN is reached. */
static void read_response(struct fetch *f)
{
	for (int i = 0; f->state == RESPONSE_GOING; i++) {
		if (i == READS_PER_TURN) {
			read_next_turn(f);
			return;
		}
		ssize_t got = conn_read(f->conn, f->engine->in, PIECE_BYTES);
		if (got == CONN_WAIT)
			return;
		f->has_read = f->has_read || got > 0;
		if (got > 0)
			parse(f, (size_t)got);
		else
			f->state = got == CONN_END ? response_parser_end(f->parser) : RESPONSE_CUT;
	}
}

/* --- both --- */

static void release_body(struct fetch *f)
{
	request_sender_release(&f->sender);
	stop_awaiting_continue(f);
}

/* Returns true if the app wants the body: 100 Continue, or a response that is no error. */
static bool wants_body(const struct fetch *f)
{
	int status = response_parser_status(f->parser);

	return response_parser_continues(f->parser) || (status != 0 && status < 400);
}

/* Call after making all possible progress. May free *f. */
static void finish_or_wait(struct fetch *f)
{
	switch (f->state) {
	case RESPONSE_COMPLETE:
		finish(f, FAIL_NONE);
		break;
	case RESPONSE_CUT:
		fail(f, FAIL_TARGET_UNREACHABLE, "the connection ended before the response");
		break;
	case RESPONSE_BAD:
	case RESPONSE_SWITCHED:
		fail(f, FAIL_BAD_RESPONSE, response_parser_fault(f->parser));
		break;
	case RESPONSE_GOING:
	case RESPONSE_STALLED:
		if (f->sender.body == BODY_SHORT)
			fail(f, FAIL_BAD_REQUEST, "the request body is too short");
		else
			conn_watch(f->conn, f->state == RESPONSE_GOING,
				   request_sender_is_blocked(&f->sender));
		break;
	}
}

static void join_queue(struct fetch *f);

static void work(struct fetch *f)
{
	request_sender_send(&f->sender, f->conn, f->engine->out);
	/* The kernel refused it: the app has seen nothing. */
	if (f->sender.broken && f->uses > 0 && !f->sender.begun) {
		conn_pool_distrust(f->engine->pool,
				   "a kept connection was closed before a request");
		conn_close(&f->conn);
		join_queue(f);
		return;
	}
	read_response(f);
	if (f->state == RESPONSE_GOING && f->sender.body == BODY_HELD && wants_body(f)) {
		release_body(f);
		request_sender_send(&f->sender, f->conn, f->engine->out);
	}
	finish_or_wait(f);
}

/* --- the connection --- */

static void on_continue_timeout(uv_timer_t *timer)
{
	struct fetch_engine *e = timer->data;
	uint64_t now_ms = uv_now(e->loop);
	struct fetch *f;

	while ((f = TAILQ_FIRST(&e->awaiting_continue)) != NULL && f->continue_ms <= now_ms) {
		release_body(f);
		if (f->connected)
			work(f);
	}
	if (f != NULL)
		uv_timer_start(timer, on_continue_timeout, f->continue_ms - now_ms, 0);
}

static void wait_for_continue(struct fetch *f)
{
	struct fetch_engine *e = f->engine;

	f->continue_ms = uv_now(e->loop) + CONTINUE_WAIT_MS;
	TAILQ_INSERT_TAIL(&e->awaiting_continue, f, link);
	f->awaits_continue = true;
	if (!uv_is_active((uv_handle_t *)&e->continue_timer))
		uv_timer_start(&e->continue_timer, on_continue_timeout, CONTINUE_WAIT_MS, 0);
}

static void on_connected(void *ctx)
{
	struct fetch *f = ctx;

	connect_queue_leave(&f->queue_entry);
	f->connected = true;
	f->events->connected(f->ctx);
	if (f->sender.body == BODY_HELD && !f->awaits_continue)
		wait_for_continue(f);
	work(f);
}

static void on_failed(void *ctx)
{
	struct fetch *f = ctx;

	log_limited_info("", "target.failed corr=%s why=\"%s\"", f->corr, conn_why(f->conn));
	finish(f, FAIL_TARGET_UNREACHABLE);
}

static void on_ready(void *ctx)
{
	work(ctx);
}

static const struct conn_events conn_events = {on_connected, on_failed, on_ready};

/* --- the queue --- */

static bool reuse(void *ctx)
{
	struct fetch *f = ctx;

	f->conn = conn_pool_take(f->engine->pool, &f->uses);
	if (f->conn == NULL)
		return false;
	conn_hand_over(f->conn, &conn_events, f);
	on_connected(f);
	return true;
}

static void open_conn(void *ctx)
{
	struct fetch *f = ctx;

	f->conn = conn_open(f->engine->dialer, &conn_events, f);
}

static void on_expired(void *ctx)
{
	fail(ctx, FAIL_TARGET_UNREACHABLE, "too many connections are waiting for the app");
}

static void join_queue(struct fetch *f)
{
	static const struct connect_events events = {reuse, open_conn, on_expired};

	f->connected = false;
	request_sender_restart(&f->sender);
	f->uses = 0;
	connect_queue_join(f->engine->queue, &f->queue_entry, &events, f);
}

/* --- fetches --- */

static void on_next_turn(uv_idle_t *idle)
{
	struct fetch_engine *e = idle->data;
	struct fetch *f;

	uv_idle_stop(idle);
	for (size_t left = e->to_read_count; left > 0 && (f = TAILQ_FIRST(&e->to_read)) != NULL;
	     left--) {
		leave_to_read(f);
		work(f);
	}
}

struct fetch *fetch_start(struct fetch_engine *e, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events, void *ctx,
			  enum fail *why)
{
	struct fetch *f = xcalloc(1, sizeof *f);

	f->engine = e;
	f->events = events;
	f->ctx = ctx;
	request_log_corr(head, head_bytes, f->corr);
	*why = request_sender_start(&f->sender,
				    &(struct request_input){.target = e->target,
							    .head = head,
							    .head_bytes = head_bytes,
							    .has_body = body == FETCH_BODY,
							    .keeps_open = conn_pool_keeps(e->pool)},
				    events, ctx);
	if (*why != FAIL_NONE) {
		fetch_free(f);
		return NULL;
	}
	f->parser = response_parser_new(e->target, &e->hint);
	response_parser_begin(f->parser,
			      f->sender.request.is_head ? RESPONSE_TO_HEAD : RESPONSE_TO_REQUEST,
			      &(struct response_events){events->head, events->data}, ctx);
	join_queue(f);
	return f;
}

void fetch_resume(struct fetch *f, bool body, bool data)
{
	f->sender.body_waits = f->sender.body_waits && !body;
	if (data && f->state == RESPONSE_STALLED)
		parse_held(f);
	if (f->connected)
		work(f);
}

void fetch_cancel(struct fetch **fp)
{
	struct fetch *f = *fp;

	*fp = NULL;
	if (f != NULL)
		fetch_free(f);
}

/* --- start and end --- */

struct fetch_engine *fetch_engine_new(uv_loop_t *loop, const struct target *target)
{
	struct fetch_engine *e = xcalloc(1, sizeof *e);

	e->loop = loop;
	e->target = target;
	e->dialer = dialer_new_to_target(loop, target);
	e->pool = conn_pool_new(loop, target->keep_alive);
	e->queue = connect_queue_new(loop);
	TAILQ_INIT(&e->to_read);
	TAILQ_INIT(&e->awaiting_continue);
	CHECK(uv_idle_init(loop, &e->next_turn) == 0 &&
	      uv_timer_init(loop, &e->continue_timer) == 0);
	e->next_turn.data = e->continue_timer.data = e;
	return e;
}

static void handle_closed(uv_handle_t *handle)
{
	struct fetch_engine *e = handle->data;

	if (--e->open_handles == 0)
		free(e);
}

void fetch_engine_destroy(struct fetch_engine **ep)
{
	struct fetch_engine *e = *ep;

	*ep = NULL;
	if (e == NULL)
		return;
	conn_pool_destroy(&e->pool);
	dialer_destroy(&e->dialer);
	connect_queue_destroy(&e->queue);
	e->open_handles = 2;
	uv_close((uv_handle_t *)&e->next_turn, handle_closed);
	uv_close((uv_handle_t *)&e->continue_timer, handle_closed);
}

const struct target *fetch_engine_target(const struct fetch_engine *e)
{
	return e->target;
}

struct host_hint *fetch_engine_host_hint(struct fetch_engine *e)
{
	return &e->hint;
}

struct dialer *fetch_engine_dialer(struct fetch_engine *e)
{
	return e->dialer;
}

struct connect_queue *fetch_engine_queue(struct fetch_engine *e)
{
	return e->queue;
}
