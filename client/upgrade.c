/* client/upgrade.c - see upgrade.h.
 *
 *   CONNECTING -> ASKED (the head has gone, an answer is due) -> RELAYING (101), or REFUSED (any other)
 *
 * At most one piece waits here for each direction; the owner's windows bound the rest. */
#include "client/upgrade.h"

#include "client/heads.h"
#include "common/buf.h"
#include "common/log.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PIECE_BYTES = 16 * 1024 };

struct upgrade {
	struct origin *origin;
	const struct fetch_events *events;
	void *ctx;
	struct wire *wire;
	enum { CONNECTING, ASKED, RELAYING, REFUSED } state;
	bool sent; /* a byte of the request has gone */

	struct buf up; /* to the app */
	bool up_waits; /* the owner has nothing more now */
	bool up_ended, up_end_said;

	struct buf down;  /* from the app, not yet taken by the owner */
	bool down_ended;  /* nothing follows what is in `down` */
	enum fail failed; /* FAIL_NONE: and it is complete */

	/* The answer's head. */
	http_parser parser;
	struct head fields;
	struct buf name, value;
	bool in_value, headed, names_websocket;
};

/* --- the answer's head --- */

static bool field_ends(struct upgrade *u)
{
	const char *name = (const char *)buf_first(&u->name);
	const char *value = (const char *)buf_first(&u->value);
	size_t name_bytes = buf_bytes(&u->name), value_bytes = buf_bytes(&u->value);
	bool good;

	if (name_bytes == 0)
		return true;
	if (name_bytes == 7 && strncasecmp(name, "upgrade", 7) == 0)
		u->names_websocket = value_bytes == 9 && strncasecmp(value, "websocket", 9) == 0;
	good = answer_field_add(&u->fields, name, name_bytes, value ? value : "", value_bytes);
	buf_fini(&u->name);
	buf_fini(&u->value);
	u->in_value = false;
	return good;
}

static int on_field(http_parser *p, const char *at, size_t bytes)
{
	struct upgrade *u = p->data;

	if (u->headed)
		return 0; /* a trailer */
	if (u->in_value && !field_ends(u))
		return 1;
	if (buf_bytes(&u->name) + bytes > HEAD_MAX_BYTES)
		return 1;
	buf_append(&u->name, at, bytes);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t bytes)
{
	struct upgrade *u = p->data;

	if (u->headed)
		return 0;
	u->in_value = true;
	if (buf_bytes(&u->value) + bytes > HEAD_MAX_BYTES)
		return 1;
	buf_append(&u->value, at, bytes);
	return 0;
}

/* 1 would mean "no body" here: a fault is -1. */
static int on_headers_complete(http_parser *p)
{
	struct upgrade *u = p->data;
	struct head whole = {0};

	if (!field_ends(u) || p->status_code < 100 || p->status_code > 599)
		return -1;
	if (p->status_code != 101 && p->status_code < 200) {
		head_clear(&u->fields); /* informational: the answer follows */
		return 0;
	}
	if (p->status_code == 101 && !(p->upgrade && u->names_websocket))
		return -1;
	u->headed = true;
	u->state = p->status_code == 101 ? RELAYING : REFUSED;
	answer_head_make(&whole, origin_settings(u->origin), (int)p->status_code, &u->fields);
	u->events->head(u->ctx, &whole);
	head_fini(&whole);
	head_fini(&u->fields);
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t bytes)
{
	struct upgrade *u = p->data;

	if (!u->headed)
		return 1; /* of an informational answer, which has none (RFC 9110 15.2) */
	buf_append(&u->down, at, bytes);
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct upgrade *u = p->data;

	if (u->state == REFUSED) {
		u->down_ended = true;
		http_parser_pause(p, 1); /* what follows is no answer to us */
	}
	return 0;
}

static void parse(struct upgrade *u, const char *data, size_t bytes)
{
	static const http_parser_settings callbacks = {
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_headers_complete,
		.on_body = on_body,
		.on_message_complete = on_message_complete,
	};
	size_t used = http_parser_execute(&u->parser, &callbacks, data, bytes);

	if (u->state == RELAYING) {
		buf_append(&u->down, data + used, bytes - used); /* came with the head */
	} else if (u->down_ended) {
		return;
	} else if (HTTP_PARSER_ERRNO(&u->parser) != HPE_OK) {
		u->failed = FAIL_BAD_RESPONSE;
		u->down_ended = true;
	} else if (bytes == 0) {
		u->failed = FAIL_TARGET_UNREACHABLE; /* ended in the middle */
		u->down_ended = true;
	}
}

/* --- down --- */

static void take_in(struct upgrade *u, const char *data, ssize_t got)
{
	if (got == WIRE_BROKEN) {
		u->failed = FAIL_TARGET_UNREACHABLE;
		u->down_ended = true;
	} else if (u->state != RELAYING) {
		parse(u, data, got > 0 ? (size_t)got : 0);
	} else if (got > 0) {
		buf_append(&u->down, data, (size_t)got);
	} else {
		u->down_ended = true;
	}
}

/* False: the owner takes no more now. */
static bool give_down(struct upgrade *u)
{
	size_t bytes = buf_bytes(&u->down);

	if (bytes > 0 && !u->events->data(u->ctx, buf_first(&u->down), bytes))
		return false;
	buf_consume(&u->down, bytes);
	return true;
}

static void pump_down(struct upgrade *u)
{
	char piece[PIECE_BYTES];

	while (give_down(u) && !u->down_ended) {
		ssize_t got = wire_read(u->wire, piece, sizeof piece);
		if (got == WIRE_WAIT)
			return;
		take_in(u, piece, got);
	}
}

/* --- up --- */

static void fetch_more(struct upgrade *u)
{
	uint8_t *room;
	ssize_t got;

	if (u->state != RELAYING || u->up_ended || u->up_waits || buf_bytes(&u->up) > 0)
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
	buf_fini(&u->up);
	buf_fini(&u->down);
	buf_fini(&u->name);
	buf_fini(&u->value);
	head_fini(&u->fields);
	free(u);
}

static void finish(struct upgrade *u, enum fail f)
{
	u->events->end(u->ctx, f, u->sent);
	upgrade_free(u);
}

/* All that can be done now. May be the end of *u. */
static void work(struct upgrade *u)
{
	pump_up(u);
	pump_down(u);
	if (u->down_ended && buf_bytes(&u->down) == 0) {
		if (u->failed != FAIL_NONE)
			log_info("target.failed upgrade=1 headed=%d", u->headed);
		finish(u, u->failed);
		return;
	}
	pump_up(u); /* a head of 101 lets the caller's bytes go */
	wire_watch(u->wire, buf_bytes(&u->down) == 0 && !u->down_ended, buf_bytes(&u->up) > 0);
}

/* --- events of the wire --- */

static void on_connected(void *ctx)
{
	struct upgrade *u = ctx;

	u->state = ASKED;
	work(u);
}

static void on_failed(void *ctx)
{
	finish(ctx, FAIL_TARGET_UNREACHABLE);
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	(void)readable;
	(void)writable;
	work(ctx);
}

/* --- start --- */

static void put(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

/* The handshake as the caller wrote it; "Connection" and "Upgrade", which are between two machines, anew. */
static bool write_request(struct upgrade *u, const void *head, size_t head_bytes)
{
	const struct settings *s = origin_settings(u->origin);
	struct request_fields fields;
	struct request_line line;
	struct head_field f;
	int more;

	if (!request_line_read(&line, s, head, head_bytes))
		return false;
	put(&u->up, "GET ");
	put(&u->up, line.target);
	put(&u->up, " HTTP/1.1\r\n");
	request_line_fini(&line);
	request_fields_init(&fields, s, head, head_bytes);
	while ((more = request_fields_next(&fields, &f)) == 1) {
		buf_append(&u->up, f.name, f.name_bytes);
		put(&u->up, ": ");
		buf_append(&u->up, f.value, f.value_bytes);
		put(&u->up, "\r\n");
	}
	put(&u->up, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	return more == 0;
}

struct upgrade *upgrade_start(struct origin *o, const void *head, size_t head_bytes,
			      const struct fetch_events *events, void *ctx)
{
	static const struct wire_events wire_events = {on_connected, on_failed, on_ready};
	struct upgrade *u = xcalloc(1, sizeof *u);

	u->origin = o;
	u->events = events;
	u->ctx = ctx;
	http_parser_init(&u->parser, HTTP_RESPONSE);
	u->parser.data = u;
	if (!write_request(u, head, head_bytes)) {
		upgrade_free(u);
		return NULL;
	}
	u->wire = wire_open(o, &wire_events, u);
	return u;
}

void upgrade_resume(struct upgrade *u)
{
	u->up_waits = false;
	if (u->state != CONNECTING)
		work(u);
}

void upgrade_cancel(struct upgrade **up)
{
	struct upgrade *u = *up;

	*up = NULL;
	if (u != NULL)
		upgrade_free(u);
}
