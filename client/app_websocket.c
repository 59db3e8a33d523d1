/* client/app_websocket.c - see app_websocket.h.
 *
 * The app's response to the handshake is parsed first (client/response_parser.h). After a 101,
 * bytes are relayed in both directions. At most one piece is held here per direction; the owner's
 * windows bound the rest. */
#include "client/app_websocket.h"

#include "client/request_log.h"
#include "client/response_parser.h"
#include "client/request_writer.h"
#include "client/conn.h"
#include "client/connect_queue.h"
#include "common/buf.h"
#include "common/log.h"

#include <stdlib.h>

enum { PIECE_BYTES = 16 * 1024 };

struct app_websocket {
	const struct fetch_events *events;
	void *ctx;
	struct dialer *dialer;
	struct connect_entry place; /* while it waits or connects */
	struct conn *conn;	    /* NULL: waiting in the queue */
	bool connected;
	char corr[REQUEST_LOG_CORR_BYTES]; /* for the log */
	bool sent;			   /* a byte of the request was sent */

	struct buf up; /* to the app */
	bool up_waits; /* the owner has no more data at present */
	bool up_ended, up_end_said;

	struct response_parser *parser;
	enum response_state state;    /* SWITCHED: bytes are relayed */
	struct buf in;		      /* received from the app, not yet parsed */
	bool down_waits;	      /* the owner accepts no more at present */
	bool down_ended, down_broken; /* while relaying */
};

/* --- down --- */

static void relay(struct app_websocket *u, const char *data, size_t bytes)
{
	if (bytes > 0)
		u->down_waits = !u->events->data(u->ctx, data, bytes);
}

static void parse_response(struct app_websocket *u, const char *data, size_t bytes)
{
	size_t used;

	u->state = response_parser_feed(u->parser, data, bytes, &used);
	if (u->state == RESPONSE_SWITCHED) /* the app's first bytes, received with the head */
		relay(u, data + used, bytes - used);
	else
		buf_append(&u->in, data + used, bytes - used);
}

static void end_receiving(struct app_websocket *u, ssize_t how)
{
	if (u->state != RESPONSE_SWITCHED) {
		u->state = how == CONN_END ? response_parser_end(u->parser) : RESPONSE_CUT;
	} else {
		u->down_ended = true;
		u->down_broken = how != CONN_END;
	}
}

static bool wants_more(const struct app_websocket *u)
{
	return u->state == RESPONSE_GOING ||
	       (u->state == RESPONSE_SWITCHED && !u->down_waits && !u->down_ended);
}

static void pump_down(struct app_websocket *u)
{
	char piece[PIECE_BYTES];

	while (wants_more(u)) {
		ssize_t got = conn_read(u->conn, piece, sizeof piece);
		if (got == CONN_WAIT)
			return;
		if (got < 0)
			end_receiving(u, got);
		else if (u->state == RESPONSE_SWITCHED)
			relay(u, piece, (size_t)got);
		else
			parse_response(u, piece, (size_t)got);
	}
}

/* --- up --- */

static void fetch_more(struct app_websocket *u)
{
	uint8_t *room;
	ssize_t got;

	if (u->state != RESPONSE_SWITCHED || u->up_ended || u->up_waits || buf_bytes(&u->up) > 0)
		return;
	room = buf_extend(&u->up, PIECE_BYTES);
	got = u->events->body(u->ctx, room, PIECE_BYTES);
	buf_shrink(&u->up, PIECE_BYTES - (got > 0 ? (size_t)got : 0));
	u->up_waits = got == FETCH_WAIT;
	u->up_ended = got == FETCH_END;
}

static void pump_up(struct app_websocket *u)
{
	for (;;) {
		fetch_more(u);
		if (buf_bytes(&u->up) == 0)
			break;
		ssize_t sent = conn_write(u->conn, buf_first(&u->up), buf_bytes(&u->up));
		if (sent == CONN_WAIT)
			return;
		/* The app may have sent something before it closed: it is still to be read. */
		if (sent < 0) {
			buf_fini(&u->up);
			u->up_ended = u->up_end_said = true;
			return;
		}
		u->sent = true;
		buf_consume(&u->up, (size_t)sent);
	}
	if (u->up_ended && !u->up_end_said) {
		u->up_end_said = true;
		u->down_ended = u->down_ended || !conn_end_writing(u->conn);
	}
}

/* --- the end --- */

static void upgrade_free(struct app_websocket *u)
{
	connect_queue_leave(&u->place);
	conn_close(&u->conn);
	response_parser_destroy(&u->parser);
	buf_fini(&u->up);
	buf_fini(&u->in);
	free(u);
}

static void finish(struct app_websocket *u, enum fail f)
{
	if (f != FAIL_NONE && u->connected)
		log_limited_info("", "target.failed corr=%s upgrade=1 head=%d", u->corr,
				 response_parser_status(u->parser));
	u->events->end(u->ctx, f, u->sent);
	upgrade_free(u);
}

/* Call after making all possible progress. May free *u. */
static void work(struct app_websocket *u)
{
	pump_up(u);
	pump_down(u);
	pump_up(u); /* after a head of 101, the caller's bytes may be sent */
	if (u->state == RESPONSE_BAD)
		finish(u, FAIL_BAD_RESPONSE);
	else if (u->state == RESPONSE_CUT || u->down_broken)
		finish(u, FAIL_TARGET_UNREACHABLE);
	else if (u->state == RESPONSE_COMPLETE || u->down_ended)
		finish(u, FAIL_NONE);
	else
		conn_watch(u->conn, wants_more(u), buf_bytes(&u->up) > 0);
}

/* --- events of the connection --- */

static void on_connected(void *ctx)
{
	struct app_websocket *u = ctx;

	connect_queue_leave(&u->place);
	u->connected = true;
	u->events->connected(u->ctx);
	work(u);
}

static void on_failed(void *ctx)
{
	struct app_websocket *u = ctx;

	log_limited_info("", "target.failed corr=%s upgrade=1 why=\"%s\"", u->corr,
			 conn_why(u->conn));
	finish(u, FAIL_TARGET_UNREACHABLE);
}

static void on_ready(void *ctx)
{
	work(ctx);
}

static const struct conn_events conn_events = {on_connected, on_failed, on_ready};

/* --- start --- */

static void open_conn(void *ctx)
{
	struct app_websocket *u = ctx;

	u->conn = conn_open(u->dialer, &conn_events, u);
}

static void on_expired(void *ctx)
{
	struct app_websocket *u = ctx;

	log_limited_info("",
			 "target.failed corr=%s upgrade=1 "
			 "why=\"too many connections wait for the app\"",
			 u->corr);
	finish(u, FAIL_TARGET_UNREACHABLE);
}

struct app_websocket *app_websocket_start(struct fetch_engine *e, const void *head,
					  size_t head_bytes, const struct fetch_events *events,
					  void *ctx, enum fail *why)
{
	static const struct connect_events queue_events = {.connect = open_conn,
							   .expired = on_expired};
	struct app_websocket *u = xcalloc(1, sizeof *u);

	u->events = events;
	u->ctx = ctx;
	request_log_corr(head, head_bytes, u->corr);
	*why = request_writer_write_upgrade(&u->up, fetch_engine_target(e), head, head_bytes);
	if (*why != FAIL_NONE) {
		upgrade_free(u);
		return NULL;
	}
	u->parser = response_parser_new(fetch_engine_target(e), fetch_engine_host_hint(e));
	response_parser_begin(u->parser, RESPONSE_TO_HANDSHAKE,
			      &(struct response_events){events->head, events->data}, ctx);
	u->dialer = fetch_engine_dialer(e);
	connect_queue_join(fetch_engine_queue(e), &u->place, &queue_events, u);
	return u;
}

void app_websocket_resume(struct app_websocket *u, bool body, bool data)
{
	u->up_waits = u->up_waits && !body;
	u->down_waits = u->down_waits && !data;
	if (data && u->state == RESPONSE_STALLED) {
		size_t used;
		u->state = response_parser_feed(u->parser, buf_first(&u->in), buf_bytes(&u->in),
						&used);
		buf_consume(&u->in, used);
	}
	if (u->connected)
		work(u);
}

void app_websocket_cancel(struct app_websocket **up)
{
	struct app_websocket *u = *up;

	*up = NULL;
	if (u != NULL)
		upgrade_free(u);
}
