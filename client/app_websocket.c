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
	struct connect_entry queue_entry; /* while it waits or connects */
	struct conn *conn;		  /* NULL: waiting in the queue */
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

static void relay(struct app_websocket *w, const char *data, size_t bytes)
{
	if (bytes > 0)
		w->down_waits = !w->events->data(w->ctx, data, bytes);
}

static void parse_response(struct app_websocket *w, const char *data, size_t bytes)
{
	size_t used;

	w->state = response_parser_feed(w->parser, data, bytes, &used);
	if (w->state == RESPONSE_SWITCHED) /* the app's first bytes, received with the head */
		relay(w, data + used, bytes - used);
	else
		buf_append(&w->in, data + used, bytes - used);
}

static void end_receiving(struct app_websocket *w, ssize_t how)
{
	if (w->state != RESPONSE_SWITCHED) {
		w->state = how == CONN_END ? response_parser_end(w->parser) : RESPONSE_CUT;
	} else {
		w->down_ended = true;
		w->down_broken = how != CONN_END;
	}
}

static bool wants_more(const struct app_websocket *w)
{
	return w->state == RESPONSE_GOING ||
	       (w->state == RESPONSE_SWITCHED && !w->down_waits && !w->down_ended);
}

static void pump_down(struct app_websocket *w)
{
	char piece[PIECE_BYTES];

	while (wants_more(w)) {
		ssize_t got = conn_read(w->conn, piece, sizeof piece);
		if (got == CONN_WAIT)
			return;
		if (got < 0)
			end_receiving(w, got);
		else if (w->state == RESPONSE_SWITCHED)
			relay(w, piece, (size_t)got);
		else
			parse_response(w, piece, (size_t)got);
	}
}

/* --- up --- */

static void fetch_more(struct app_websocket *w)
{
	uint8_t *room;
	ssize_t got;

	if (w->state != RESPONSE_SWITCHED || w->up_ended || w->up_waits || buf_bytes(&w->up) > 0)
		return;
	room = buf_extend(&w->up, PIECE_BYTES);
	got = w->events->body(w->ctx, room, PIECE_BYTES);
	buf_shrink(&w->up, PIECE_BYTES - (got > 0 ? (size_t)got : 0));
	w->up_waits = got == FETCH_WAIT;
	w->up_ended = got == FETCH_END;
}

static void pump_up(struct app_websocket *w)
{
	for (;;) {
		fetch_more(w);
		if (buf_bytes(&w->up) == 0)
			break;
		ssize_t sent = conn_write(w->conn, buf_first(&w->up), buf_bytes(&w->up));
		if (sent == CONN_WAIT)
			return;
		/* The app may have sent something before it closed: it is still to be read. */
		if (sent < 0) {
			buf_fini(&w->up);
			w->up_ended = w->up_end_said = true;
			return;
		}
		w->sent = true;
		buf_consume(&w->up, (size_t)sent);
	}
	if (w->up_ended && !w->up_end_said) {
		w->up_end_said = true;
		w->down_ended = w->down_ended || !conn_end_writing(w->conn);
	}
}

/* --- the end --- */

static void app_websocket_free(struct app_websocket *w)
{
	connect_queue_leave(&w->queue_entry);
	conn_close(&w->conn);
	response_parser_destroy(&w->parser);
	buf_fini(&w->up);
	buf_fini(&w->in);
	free(w);
}

static void finish(struct app_websocket *w, enum fail f)
{
	if (f != FAIL_NONE && w->connected)
		log_limited_info("", "target.failed corr=%s upgrade=1 head=%d", w->corr,
				 response_parser_status(w->parser));
	w->events->end(w->ctx, f, w->sent);
	app_websocket_free(w);
}

/* Call after making all possible progress. May free *w. */
static void work(struct app_websocket *w)
{
	pump_up(w);
	pump_down(w);
	pump_up(w); /* after a head of 101, the caller's bytes may be sent */
	if (w->state == RESPONSE_BAD)
		finish(w, FAIL_BAD_RESPONSE);
	else if (w->state == RESPONSE_CUT || w->down_broken)
		finish(w, FAIL_TARGET_UNREACHABLE);
	else if (w->state == RESPONSE_COMPLETE || w->down_ended)
		finish(w, FAIL_NONE);
	else
		conn_watch(w->conn, wants_more(w), buf_bytes(&w->up) > 0);
}

/* --- events of the connection --- */

static void on_connected(void *ctx)
{
	struct app_websocket *w = ctx;

	connect_queue_leave(&w->queue_entry);
	w->connected = true;
	w->events->connected(w->ctx);
	work(w);
}

static void on_failed(void *ctx)
{
	struct app_websocket *w = ctx;

	log_limited_info("", "target.failed corr=%s upgrade=1 why=\"%s\"", w->corr,
			 conn_why(w->conn));
	finish(w, FAIL_TARGET_UNREACHABLE);
}

static void on_ready(void *ctx)
{
	work(ctx);
}

static const struct conn_events conn_events = {on_connected, on_failed, on_ready};

/* --- start --- */

static void open_conn(void *ctx)
{
	struct app_websocket *w = ctx;

	w->conn = conn_open(w->dialer, &conn_events, w);
}

static void on_expired(void *ctx)
{
	struct app_websocket *w = ctx;

	log_limited_info("",
			 "target.failed corr=%s upgrade=1 "
			 "why=\"too many connections are waiting for the app\"",
			 w->corr);
	finish(w, FAIL_TARGET_UNREACHABLE);
}

struct app_websocket *app_websocket_start(struct fetch_engine *e, const void *head,
					  size_t head_bytes, const struct fetch_events *events,
					  void *ctx, enum fail *why)
{
	static const struct connect_events queue_events = {.connect = open_conn,
							   .expired = on_expired};
	struct app_websocket *w = xcalloc(1, sizeof *w);

	w->events = events;
	w->ctx = ctx;
	request_log_corr(head, head_bytes, w->corr);
	*why = request_writer_write_upgrade(
		&w->up, &(struct request_input){.target = fetch_engine_target(e),
						.head = head,
						.head_bytes = head_bytes});
	if (*why != FAIL_NONE) {
		app_websocket_free(w);
		return NULL;
	}
	w->parser = response_parser_new(fetch_engine_target(e), fetch_engine_host_hint(e));
	response_parser_begin(w->parser, RESPONSE_TO_HANDSHAKE,
			      &(struct response_events){events->head, events->data}, ctx);
	w->dialer = fetch_engine_dialer(e);
	connect_queue_join(fetch_engine_queue(e), &w->queue_entry, &queue_events, w);
	return w;
}

void app_websocket_resume(struct app_websocket *w, bool body, bool data)
{
	w->up_waits = w->up_waits && !body;
	w->down_waits = w->down_waits && !data;
	if (data && w->state == RESPONSE_STALLED) {
		size_t used;
		w->state = response_parser_feed(w->parser, buf_first(&w->in), buf_bytes(&w->in),
						&used);
		buf_consume(&w->in, used);
	}
	if (w->connected)
		work(w);
}

void app_websocket_cancel(struct app_websocket **up)
{
	struct app_websocket *w = *up;

	*up = NULL;
	if (w != NULL)
		app_websocket_free(w);
}
