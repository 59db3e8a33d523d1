/* client/outgoing.c - see outgoing.h. */
#include "client/outgoing.h"

#include "common/wsframe.h"
#include "common/bytes.h"
#include "common/id.h"

#include <stdlib.h>

enum {
	FRAMES_PER_TURN = 32,
	NO_STATUS = 1005,
};

void outgoing_init(struct outgoing *o)
{
	*o = (struct outgoing){.room = xmalloc(WSFRAME_HEAD_BYTES + SESSION_PULL_BYTES)};
}

void outgoing_fini(struct outgoing *o)
{
	free(o->room);
	*o = (struct outgoing){0};
}

void outgoing_reset(struct outgoing *o)
{
	*o = (struct outgoing){.room = o->room};
}

void outgoing_start(struct outgoing *o, const void *data, size_t bytes)
{
	o->rest = data;
	o->rest_bytes = bytes;
}

void outgoing_ping(struct outgoing *o)
{
	o->ping_due = true;
}

void outgoing_pong(struct outgoing *o, const void *payload, size_t bytes)
{
	memcpy(o->pong, payload, bytes);
	o->pong_bytes = bytes;
	o->pong_due = true;
}

void outgoing_close(struct outgoing *o, int code, const void *reason, size_t bytes)
{
	if (outgoing_is_closing(o))
		return;
	o->close_due = true;
	if (code == NO_STATUS)
		return;
	put_be16(o->close, (uint16_t)code);
	memcpy(o->close + 2, reason, bytes);
	o->close_bytes = 2 + bytes;
}

/* --- frames --- */

static void put_control(struct outgoing *o, uint8_t opcode, const void *payload, size_t bytes)
{
	uint8_t key[WSFRAME_KEY_BYTES];

	id_random(key, sizeof key);
	o->rest = o->room;
	o->rest_bytes = wsframe_write_control(o->room, opcode, payload, bytes, key);
}

static bool put_due_control(struct outgoing *o)
{
	if (o->pong_due) {
		put_control(o, WEBSOCKET_PONG, o->pong, o->pong_bytes);
		o->pong_due = false;
	} else if (o->ping_due) {
		put_control(o, WEBSOCKET_PING, "ping", 4);
		o->ping_due = false;
	} else if (o->close_due) {
		put_control(o, WEBSOCKET_CLOSE, o->close, o->close_bytes);
		o->close_due = false;
		o->close_sent = true;
	} else {
		return false;
	}
	return true;
}

/* Writes the next frame to `rest`. Returns false if there is none. */
static bool put_frame(struct outgoing *o, const struct session_kind *kind, void *session)
{
	struct wsframe_piece piece = {0};
	uint8_t key[WSFRAME_KEY_BYTES];
	size_t bytes;

	if (session == NULL || o->close_sent)
		return false;
	if (put_due_control(o))
		return true;
	piece.text = kind->text;
	bytes = kind->pull(session, o->room + WSFRAME_HEAD_BYTES, &piece.first, &piece.final);
	if (bytes == 0)
		return false;
	id_random(key, sizeof key);
	o->rest = wsframe_write(o->room + WSFRAME_HEAD_BYTES, bytes, &piece, key, &o->rest_bytes);
	return true;
}

/* Returns DONE, BLOCKED or BROKEN. */
static enum outgoing_state send_rest(struct outgoing *o, struct conn *conn, bool *progress)
{
	while (o->rest_bytes > 0) {
		ssize_t sent = conn_write(conn, o->rest, o->rest_bytes);
		if (sent < 0)
			return OUTGOING_BROKEN;
		*progress = *progress || (sent > 0 && o->blocked);
		o->blocked = sent == CONN_WAIT;
		if (o->blocked)
			return OUTGOING_BLOCKED;
		o->rest += sent;
		o->rest_bytes -= (size_t)sent;
	}
	return OUTGOING_DONE;
}

enum outgoing_state outgoing_flush(struct outgoing *o, struct conn *conn,
				   const struct session_kind *kind, void *session, bool *progress)
{
	enum outgoing_state state = send_rest(o, conn, progress);

	for (int i = 0; state == OUTGOING_DONE; i++) {
		if (i == FRAMES_PER_TURN)
			return OUTGOING_MORE;
		if (!put_frame(o, kind, session))
			return OUTGOING_DONE;
		state = send_rest(o, conn, progress);
	}
	return state;
}
