/* client/link.c - see link.h.
 *
 * Events of the connection read frames and set flags. on_turn() runs once per turn of the loop: it
 * lets the session work, and writes its output in as few messages as possible. Only the
 * connection's events, the timer and on_turn() may end a connection; callbacks of the session and
 * of the frame reader must not. */
#include "client/link.h"

#include "client/link_end.h"
#include "client/link_handshake.h"
#include "client/lifecycle.h"
#include "client/outgoing.h"
#include "client/session.h"
#include "client/wake_clock.h"
#include "client/websocket.h"
#include "client/conn.h"
#include "common/id.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	READ_BYTES = 128 * 1024,
	READS_PER_TURN = 8,
	WAKE_CHECK_MS = 5000,
};

struct link {
	uv_loop_t *loop;
	const struct tunnel_server *server;
	struct fetch_engine *engine;
	struct window_budget *windows;
	void (*on_over)(void *ctx, int exit_code);
	void *ctx;

	struct lifecycle life;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_idle_t next_turn; /* active: run another turn without waiting */
	int open_handles;
	struct wake_clock wake;

	struct dialer *dialer;
	struct conn *conn; /* NULL: none */
	struct link_handshake *handshake;
	struct websocket websocket;
	const struct session_kind *kind;
	char instance[33];
	void *session; /* exists after the handshake */

	uint8_t *in; /* READ_BYTES */
	struct outgoing outgoing;
	/* The handshake request; `outgoing` may still send the end of it after the response
	 * arrived. */
	struct buf request;
	/* A bound stopped reading or writing: another turn is needed, although no event will
	 * come. */
	bool turn_due;
	/* Writing has failed; the peer's last bytes may still be unread. */
	bool write_failed;

	struct link_end end;
};

static int64_t now_ms(const struct link *l)
{
	return (int64_t)uv_now(l->loop);
}

/* --- the clocks --- */

static void on_timer(uv_timer_t *timer);

/* Call after each possible change of state. */
static void arm_timer(struct link *l)
{
	lifecycle_log(&l->life);
	int64_t now = now_ms(l), wait_ms = lifecycle_next_ms(&l->life) - now;

	if (l->life.state == LIFECYCLE_OVER) {
		uv_timer_stop(&l->timer);
		return;
	}
	wait_ms = wait_ms < 0 ? 0 : wait_ms > WAKE_CHECK_MS ? WAKE_CHECK_MS : wait_ms;
	if (!uv_is_active((uv_handle_t *)&l->timer) ||
	    (int64_t)uv_timer_get_due_in(&l->timer) > wait_ms)
		uv_timer_start(&l->timer, on_timer, (uint64_t)wait_ms, 0);
}

/* --- the end of a connection --- */

static void finish(struct link *l, int exit_code)
{
	l->life.state = LIFECYCLE_OVER;
	uv_timer_stop(&l->timer);
	uv_prepare_stop(&l->prepare);
	uv_idle_stop(&l->next_turn);
	l->on_over(l->ctx, exit_code);
}

static void drop_connection(struct link *l)
{
	conn_close(&l->conn);
	link_handshake_destroy(&l->handshake);
	websocket_fini(&l->websocket);
	if (l->session != NULL)
		l->kind->free(l->session);
	l->session = NULL;
	buf_fini(&l->request);
	uv_idle_stop(&l->next_turn);
}

/* Ends the connection, or the attempt; `l->end` says why. */
static void end_connection(struct link *l)
{
	const char *server = l->server->shown;
	char address[96];
	uint16_t random_bits;
	int64_t delay_ms;

	if (l->life.state == LIFECYCLE_OVER)
		return;
	snprintf(address, sizeof address, "%s", l->conn != NULL ? conn_address(l->conn) : "-");
	drop_connection(l);
	id_random(&random_bits, sizeof random_bits);
	switch (lifecycle_ended(&l->life, now_ms(l), &l->end.cause, random_bits, &delay_ms)) {
	case LIFECYCLE_STOPPED:
		finish(l, 0);
		break;
	case LIFECYCLE_REFUSED:
		log_error("tunnel.refused server=%s address=%s code=%d reason=\"%s\"", server,
			  address, l->end.cause.code, l->end.shown);
		finish(l, EXIT_REFUSED);
		break;
	case LIFECYCLE_RETRY:
		log_warn("tunnel.closed server=%s address=%s code=%d reason=\"%s\" retry_ms=%lld",
			 server, address, l->end.cause.code, l->end.shown, (long long)delay_ms);
		arm_timer(l);
		break;
	}
}

/* The connection broke, or the peer closed it. */
static void end_by_conn(struct link *l)
{
	link_end_set_by_conn(&l->end, conn_why(l->conn), l->handshake);
	end_connection(l);
}

/* --- closing --- */

static void start_closing(struct link *l, int code, const char *reason)
{
	if (outgoing_is_closing(&l->outgoing) || l->session == NULL)
		return;
	link_end_set(&l->end, code, reason, strlen(reason));
	outgoing_close(&l->outgoing, code, reason, strlen(reason));
	lifecycle_closing(&l->life, now_ms(l));
}

static void session_wants_close(void *ctx, int code, const char *reason)
{
	start_closing(ctx, code, reason);
}

static int64_t session_now_ms(void *ctx)
{
	return now_ms(ctx);
}

/* --- writing --- */

static void on_next_turn(uv_idle_t *idle)
{
	(void)idle;
}

/* Writes until nothing is left or the kernel accepts no more. */
static void flush(struct link *l)
{
	bool progress = false;
	enum outgoing_state state =
		outgoing_flush(&l->outgoing, l->conn, l->kind, l->session, &progress);

	if (progress) /* an upload on a slow line: the peer is alive, although silent */
		lifecycle_received(&l->life, now_ms(l));
	l->write_failed = state == OUTGOING_BROKEN;
	l->turn_due = l->turn_due || state == OUTGOING_MORE;
	if (state == OUTGOING_MORE || l->write_failed)
		uv_idle_start(&l->next_turn, on_next_turn);
	conn_watch(l->conn, true, state == OUTGOING_BLOCKED);
}

/* --- events of the frame reader: they only mark --- */

static void on_accepted(struct link *l)
{
	log_info("tunnel.open server=%s protocol=%s address=%s", l->server->shown, l->kind->name,
		 conn_address(l->conn));
}

static void on_message(void *ctx, const uint8_t *data, size_t bytes)
{
	struct link *l = ctx;

	if (outgoing_is_closing(&l->outgoing))
		return;
	l->kind->receive(l->session, data, bytes);
	/* v2: this was its HELLO. A client that is refused receives no message. */
	if (!outgoing_is_closing(&l->outgoing) && lifecycle_accepted(&l->life, now_ms(l)))
		on_accepted(l);
}

static void on_ping(void *ctx, const uint8_t *payload, size_t bytes)
{
	struct link *l = ctx;

	outgoing_pong(&l->outgoing, payload, bytes);
}

static void on_peer_close(void *ctx, int code, const uint8_t *reason, size_t bytes)
{
	static const char silent[] = "the server closed the tunnel without a reason";
	struct link *l = ctx;

	if (bytes > 0)
		link_end_set(&l->end, code, reason, bytes);
	else
		link_end_set_words(&l->end, code, false, silent);
	outgoing_close(&l->outgoing, code, reason, bytes);
	lifecycle_closing(&l->life, now_ms(l));
}

static const struct websocket_events websocket_events = {on_message, on_ping, on_peer_close};

/* --- reading --- */

static void open_session(struct link *l)
{
	struct session_socket socket = {.ctx = l,
					.close = session_wants_close,
					.instance = l->instance,
					.connection_id = l->server->connection_id,
					.now_ms = session_now_ms,
					.windows = l->windows};
	bool v2 = link_handshake_is_v2(l->handshake);

	link_handshake_destroy(&l->handshake);
	l->kind = v2 ? &session_v2 : &session_v1;
	websocket_init(&l->websocket, l->kind->max_message_bytes, &websocket_events, l);
	l->session = l->kind->open(l->engine, &socket);
	lifecycle_greeted(&l->life, now_ms(l), !v2);
	lifecycle_log(&l->life);
}

static void receive_frames(struct link *l, const uint8_t *data, size_t bytes)
{
	const char *why = "";
	int code = websocket_receive(&l->websocket, data, bytes, &why);

	if (code != 0) {
		start_closing(l, code, why);
		l->websocket.closed = true; /* the rest cannot be parsed */
	}
}

/* Returns false if the handshake failed. */
static bool receive_handshake(struct link *l, const uint8_t *data, size_t bytes)
{
	size_t used;
	int status = link_handshake_status(l->handshake);

	switch (link_handshake_receive(l->handshake, data, bytes, &used)) {
	case HANDSHAKE_FAILED:
		link_end_set_words(&l->end, link_handshake_status(l->handshake), true,
				   link_handshake_why(l->handshake));
		return false;
	case HANDSHAKE_DONE:
		open_session(l);
		receive_frames(l, data + used, bytes - used);
		return true;
	case HANDSHAKE_GOING:
		break;
	}
	if (status == 0 && link_handshake_status(l->handshake) != 0)
		lifecycle_refusing(&l->life, now_ms(l));
	return true;
}

/* Reads available input, up to a bound. Returns false if the connection has ended; *l has no
 * connection then. */
static bool read_conn(struct link *l)
{
	l->turn_due = false;
	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t got = conn_read(l->conn, l->in, READ_BYTES);
		if (got == CONN_WAIT)
			return true;
		if (got < 0) {
			end_by_conn(l);
			return false;
		}
		if (l->handshake != NULL) {
			if (!receive_handshake(l, l->in, (size_t)got)) {
				end_connection(l);
				return false;
			}
			continue;
		}
		lifecycle_received(&l->life, now_ms(l));
		receive_frames(l, l->in, (size_t)got);
	}
	l->turn_due = true;
	uv_idle_start(&l->next_turn, on_next_turn);
	return true;
}

/* --- events of the connection --- */

static void on_connected(void *ctx)
{
	struct link *l = ctx;

	lifecycle_connected(&l->life);
	if (conn_is_proxied(l->conn) && !l->server->tls)
		log_warn("tunnel.clear server=%s: without TLS the proxy can read the token",
			 l->server->shown);
	l->handshake = link_handshake_new(l->server);
	link_handshake_write(l->handshake, &l->request);
	outgoing_start(&l->outgoing, buf_first(&l->request), buf_bytes(&l->request));
	flush(l);
}

static void on_failed(void *ctx)
{
	struct link *l = ctx;

	link_end_set_words(&l->end, 0, false, conn_why(l->conn));
	end_connection(l);
}

static void on_ready(void *ctx)
{
	struct link *l = ctx;

	if (read_conn(l)) {
		flush(l);
		arm_timer(l);
	}
}

static const struct conn_events conn_events = {on_connected, on_failed, on_ready};

static void connect_now(struct link *l)
{
	log_debug("tunnel.connect server=%s", l->server->shown);
	link_end_reset(&l->end);
	l->turn_due = l->write_failed = false;
	outgoing_reset(&l->outgoing);
	l->conn = conn_open(l->dialer, &conn_events, l);
}

/* --- turns of the loop --- */

static void serve_session(struct link *l)
{
	const struct outgoing *o = &l->outgoing;

	if (!outgoing_is_closing(o))
		l->kind->resume(l->session);
	flush(l);
	if (outgoing_is_closing(o))
		return;
	if (l->kind->is_idle(l->session) && o->rest_bytes == 0 &&
	    lifecycle_may_close(&l->life, now_ms(l), l->kind->expects_more(l->session))) {
		start_closing(l, 1000, "client stops");
		flush(l);
	} else if (l->kind->must_resume(l->session)) {
		uv_idle_start(&l->next_turn, on_next_turn);
	}
}

static void on_turn(uv_prepare_t *prepare)
{
	struct link *l = prepare->data;

	uv_idle_stop(&l->next_turn);
	if ((l->turn_due || l->write_failed) && l->conn != NULL && !read_conn(l))
		return;
	if (l->write_failed && !l->turn_due && l->conn != NULL) {
		end_by_conn(l);
		return;
	}
	if (l->session != NULL)
		serve_session(l);
	arm_timer(l);
}

/* --- the timer --- */

static void do_step(struct link *l, enum lifecycle_step what)
{
	switch (what) {
	case LIFECYCLE_CONNECT:
		connect_now(l);
		break;
	case LIFECYCLE_TIMED_OUT:
		link_end_set_by_time(&l->end, l->life.state, l->handshake);
		end_connection(l);
		break;
	case LIFECYCLE_ACCEPTED:
		on_accepted(l);
		break;
	case LIFECYCLE_PING:
		outgoing_ping(&l->outgoing);
		break;
	case LIFECYCLE_SILENT:
		link_end_set_words(&l->end, LINK_END_LOST, false, "the server was silent for 30 s");
		end_connection(l);
		break;
	case LIFECYCLE_DRAIN:
		l->kind->drain(l->session);
		break;
	case LIFECYCLE_CLOSE:
		start_closing(l, 1000, "client stops");
		break;
	case LIFECYCLE_STOP:
		drop_connection(l);
		finish(l, 0);
		break;
	case LIFECYCLE_NOTHING:
		break;
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct link *l = timer->data;
	int64_t slept_ms = wake_clock_slept_ms(&l->wake);

	if (slept_ms > 0) {
		log_info("clock.woke after_ms=%lld", (long long)slept_ms);
		lifecycle_woke(&l->life, now_ms(l));
	}
	do_step(l, lifecycle_tick(&l->life, now_ms(l)));
	arm_timer(l);
}

/* --- start and end --- */

static void name_instance(struct link *l)
{
	uint8_t random[16];

	id_random(random, sizeof random);
	id_to_hex(random, sizeof random, l->instance);
}

struct link *link_new(uv_loop_t *loop, const struct tunnel_server *server,
		      struct fetch_engine *engine, struct window_budget *windows,
		      void (*on_over)(void *ctx, int exit_code), void *ctx)
{
	struct link *l = xcalloc(1, sizeof *l);

	l->loop = loop;
	l->server = server;
	l->engine = engine;
	l->windows = windows;
	l->on_over = on_over;
	l->ctx = ctx;
	l->in = xmalloc(READ_BYTES);
	name_instance(l);
	outgoing_init(&l->outgoing);
	l->dialer = dialer_new_to_server(loop, server);
	wake_clock_init(&l->wake);
	CHECK(uv_timer_init(loop, &l->timer) == 0 && uv_prepare_init(loop, &l->prepare) == 0 &&
	      uv_idle_init(loop, &l->next_turn) == 0);
	l->timer.data = l->prepare.data = l->next_turn.data = l;
	uv_prepare_start(&l->prepare, on_turn);
	lifecycle_init(&l->life, now_ms(l));
	arm_timer(l);
	return l;
}

void link_stop(struct link *l, int64_t most_ms)
{
	do_step(l, lifecycle_stop(&l->life, now_ms(l), most_ms));
	if (l->life.state == LIFECYCLE_OVER)
		return;
	if (most_ms <= 0) { /* the Close is sent if the kernel accepts it now */
		flush(l);
		drop_connection(l);
		finish(l, 0);
		return;
	}
	arm_timer(l);
}

void link_dump(const struct link *l)
{
	const char *conn = l->server->connection_id;

	log_info("dump.tunnel conn=%s server=%s state=%s protocol=%s address=%s",
		 conn != NULL ? conn : "-", l->server->shown, lifecycle_state_name(l->life.state),
		 l->session != NULL ? l->kind->name : "-",
		 l->conn != NULL ? conn_address(l->conn) : "-");
	if (l->session != NULL)
		l->kind->dump(l->session);
	else
		log_info("dump.end requests=0 requests_left_out=0");
}

static void handle_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;

	if (--l->open_handles > 0)
		return;
	free(l->in);
	outgoing_fini(&l->outgoing);
	free(l);
}

void link_destroy(struct link **lp)
{
	struct link *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	drop_connection(l);
	dialer_destroy(&l->dialer);
	l->open_handles = 3;
	uv_close((uv_handle_t *)&l->timer, handle_closed);
	uv_close((uv_handle_t *)&l->prepare, handle_closed);
	uv_close((uv_handle_t *)&l->next_turn, handle_closed);
}
