/* client/upgrade.c - see upgrade.h.
 *
 * First there is an answer to the handshake (client/answer.h). If it is 101, what follows is relayed. At most one
 * piece waits here for each direction; the owner's windows bound the rest. */
#include "client/upgrade.h"

#include "client/answer.h"
#include "client/request.h"
#include "client/wire.h"
#include "common/buf.h"
#include "common/log.h"

#include <stdlib.h>

enum { PIECE_BYTES = 16 * 1024 };

struct upgrade {
	const struct fetch_events *events;
	void *ctx;
	struct wire *wire;
	bool connected;
	bool sent; /* a byte of the request has gone */

	struct buf up; /* to the app */
	bool up_waits; /* the owner has nothing more now */
	bool up_ended, up_end_said;

	struct answer *answer;
	enum answer_state state;      /* SWITCHED: the bytes are relayed */
	struct buf in;		      /* of the answer: came, and is not parsed */
	bool down_waits;	      /* the owner takes no more now */
	bool down_ended, down_broken; /* while they are relayed */
};

/* --- down --- */

static void relay(struct upgrade *u, const char *data, size_t bytes)
{
	if (bytes > 0)
		u->down_waits = !u->events->data(u->ctx, data, bytes);
}

static void take_answer(struct upgrade *u, const char *data, size_t bytes)
{
	size_t used;

	u->state = answer_take(u->answer, data, bytes, &used);
	if (u->state == ANSWER_SWITCHED) /* came with the head */
		relay(u, data + used, bytes - used);
	else
		buf_append(&u->in, data + used, bytes - used);
}

static void take_end(struct upgrade *u, ssize_t how)
{
	if (u->state != ANSWER_SWITCHED) {
		u->state = how == WIRE_END ? answer_end(u->answer) : ANSWER_CUT;
	} else {
		u->down_ended = true;
		u->down_broken = how != WIRE_END;
	}
}

static bool wants_more(const struct upgrade *u)
{
	return u->state == ANSWER_GOING ||
	       (u->state == ANSWER_SWITCHED && !u->down_waits && !u->down_ended);
}

static void pump_down(struct upgrade *u)
{
	char piece[PIECE_BYTES];

	while (wants_more(u)) {
		ssize_t got = wire_read(u->wire, piece, sizeof piece);
		if (got == WIRE_WAIT)
			return;
		if (got < 0)
			take_end(u, got);
		else if (u->state == ANSWER_SWITCHED)
			relay(u, piece, (size_t)got);
		else
			take_answer(u, piece, (size_t)got);
	}
}

/* --- up --- */

static void fetch_more(struct upgrade *u)
{
	uint8_t *room;
	ssize_t got;

	if (u->state != ANSWER_SWITCHED || u->up_ended || u->up_waits || buf_bytes(&u->up) > 0)
		return;
	room = buf_extend(&u->up, PIECE_BYTES);
	got = u->events->body(u->ctx, room, PIECE_BYTES);
	buf_shrink(&u->up, PIECE_BYTES - (got > 0 ? (size_t)got : 0));
	u->up_waits = got == FETCH_WAIT;
	u->up_ended = got == FETCH_END;
}

static void pump_up(struct upgrade *u)
{
	for (;;) {
		fetch_more(u);
		if (buf_bytes(&u->up) == 0)
			break;
		ssize_t sent = wire_write(u->wire, buf_first(&u->up), buf_bytes(&u->up));
		if (sent == WIRE_WAIT)
			return;
		if (sent < 0) { /* what the app said before it closed is still to be read */
			buf_fini(&u->up);
			u->up_ended = u->up_end_said = true;
			return;
		}
		u->sent = true;
		buf_consume(&u->up, (size_t)sent);
	}
	if (u->up_ended && !u->up_end_said) {
		u->up_end_said = true;
		u->down_ended = u->down_ended || !wire_end_writing(u->wire);
	}
}

/* --- the end --- */

static void upgrade_free(struct upgrade *u)
{
	wire_close(&u->wire);
	answer_destroy(&u->answer);
	buf_fini(&u->up);
	buf_fini(&u->in);
	free(u);
}

static void finish(struct upgrade *u, enum fail f)
{
	if (f != FAIL_NONE && u->connected)
		log_limited_info("", "target.failed upgrade=1 head=%d", answer_status(u->answer));
	u->events->end(u->ctx, f, u->sent);
	upgrade_free(u);
}

/* All that can be done now. May be the end of *u. */
static void work(struct upgrade *u)
{
	pump_up(u);
	pump_down(u);
	pump_up(u); /* a head of 101 lets the caller's bytes go */
	if (u->state == ANSWER_BAD)
		finish(u, FAIL_BAD_RESPONSE);
	else if (u->state == ANSWER_CUT || u->down_broken)
		finish(u, FAIL_TARGET_UNREACHABLE);
	else if (u->state == ANSWER_COMPLETE || u->down_ended)
		finish(u, FAIL_NONE);
	else
		wire_watch(u->wire, wants_more(u), buf_bytes(&u->up) > 0);
}

/* --- events of the wire --- */

static void on_connected(void *ctx)
{
	struct upgrade *u = ctx;

	u->connected = true;
	work(u);
}

static void on_failed(void *ctx)
{
	finish(ctx, FAIL_TARGET_UNREACHABLE);
}

static void on_ready(void *ctx)
{
	work(ctx);
}

/* --- start --- */

struct upgrade *upgrade_start(struct origin *o, const void *head, size_t head_bytes,
			      const struct fetch_events *events, void *ctx, enum fail *why)
{
	static const struct wire_events wire_events = {on_connected, on_failed, on_ready};
	struct upgrade *u = xcalloc(1, sizeof *u);

	u->events = events;
	u->ctx = ctx;
	*why = request_write_upgrade(&u->up, origin_settings(o), head, head_bytes);
	if (*why != FAIL_NONE) {
		upgrade_free(u);
		return NULL;
	}
	u->answer = answer_new(origin_settings(o));
	answer_begin(u->answer, ANSWER_TO_HANDSHAKE,
		     &(struct answer_events){events->head, events->data}, ctx);
	u->wire = wire_open(origin_wires(o), &wire_events, u);
	return u;
}

void upgrade_resume(struct upgrade *u, bool body, bool data)
{
	u->up_waits = u->up_waits && !body;
	u->down_waits = u->down_waits && !data;
	if (data && u->state == ANSWER_STALLED) {
		size_t used;
		u->state = answer_take(u->answer, buf_first(&u->in), buf_bytes(&u->in), &used);
		buf_consume(&u->in, used);
	}
	if (u->connected)
		work(u);
}

void upgrade_cancel(struct upgrade **up)
{
	struct upgrade *u = *up;

	*up = NULL;
	if (u != NULL)
		upgrade_free(u);
}
