/* client/v2.c - A tunnel of protocol v2 (common/PROTOCOL.md, "Tunnel v2"), client's side.
 *
 * A stream joins one exchange of the broker's to one fetch at the local app. Both bodies are bounded by
 * their windows: `up` holds at most what we granted, `down` stops the fetch at DOWN_BUFFER_BYTES or more. Events
 * of fetches and frames only mark streams; settle() resumes fetches and pull() writes frames and frees. */
#include "client/request_writer.h"
#include "client/session.h"
#include "client/request_log.h"
#include "client/app_websocket.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/flow.h"
#include "common/frame.h"
#include "common/head.h"
#include "common/http.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

enum {
	DOWN_BUFFER_BYTES = 64 * 1024, /* of a response, here, on its way to the broker */
	STREAMS_MAX = 4096,	       /* our "max-streams" */
	MESSAGE_BYTES = 64 * 1024,     /* a message is closed once it holds so much */
	CONTROL_MAX_BYTES = 1024 * 1024,
	/* Limit on the request bodies of all streams: four times what 256 may hold. */
	UP_MAX_BYTES = 256 * 1024 * 1024,
};

struct v2;

struct stream {
	UT_hash_handle hh; /* v2->streams */
	uint32_t id;
	struct v2 *v2;
	struct fetch *fetch;	       /* one of the two; both NULL: over */
	struct app_websocket *upgrade; /* a caller's WebSocket */
	struct request_log log;

	struct buf up; /* request body: came, not yet sent to the app */
	bool up_end;

	struct head head; /* response head, until it is sent */
	bool head_came, head_sent;
	struct buf down; /* response body, not yet sent to the broker */
	bool down_end;
	struct flow flow;

	bool failed;
	enum fail fail;
	bool maybe_delivered;

	bool body_waits, data_waits; /* the fetch, for us */
	bool ready, resuming;
	TAILQ_ENTRY(stream) ready_link;	 /* v2->ready: something to send */
	TAILQ_ENTRY(stream) resume_link; /* v2->resuming: its fetch can go on */
};

TAILQ_HEAD(stream_list, stream);

struct v2 {
	struct fetch_engine *engine;
	struct session_socket socket;
	struct stream *streams;
	struct stream_list ready, resuming;
	struct buf control; /* whole frames that go first */
	int64_t peer_window_bytes;
	size_t up_bytes; /* in `up` of all streams */
	bool greeted;	 /* the broker's HELLO came */
	bool goodbye_said, goodbye_heard;
	bool closed; /* we asked for it: nothing more is taken */
};

static void give_up(struct v2 *v, int code, const char *reason)
{
	if (!v->closed)
		v->socket.close(v->socket.ctx, code, reason);
	v->closed = true;
}

/* -v: each frame of the tunnel. */
static void log_frame(const struct v2 *v, const char *event, const struct frame *f)
{
	const struct stream *s = NULL;

	if (!log_verbose)
		return;
	HASH_FIND(hh, v->streams, &f->stream, sizeof f->stream, s);
	log_debug("%s stream=%u corr=%s kind=%s bytes=%zu end=%d", event, f->stream,
		  s != NULL ? s->log.corr : "-", frame_type_name(f->type), f->payload_bytes,
		  f->flags & FRAME_END);
}

static void put_frame(struct v2 *v, uint8_t type, uint32_t stream, const void *payload,
		      size_t bytes)
{
	frame_append(&v->control, type, stream, payload, bytes);
	log_frame(v, "frame.out",
		  &(struct frame){.type = type, .stream = stream, .payload_bytes = bytes});
	if (buf_bytes(&v->control) > CONTROL_MAX_BYTES)
		give_up(v, 1008, "too much is waiting to be read");
}

static void put_reset(struct v2 *v, uint32_t stream, enum fail f, bool maybe_delivered)
{
	uint8_t payload[2] = {(uint8_t)f, maybe_delivered};

	put_frame(v, FRAME_RESET, stream, payload, sizeof payload);
}

/* --- streams --- */

static void make_ready(struct stream *s)
{
	if (!s->ready)
		TAILQ_INSERT_TAIL(&s->v2->ready, s, ready_link);
	s->ready = true;
}

static void unready(struct stream *s)
{
	if (s->ready)
		TAILQ_REMOVE(&s->v2->ready, s, ready_link);
	s->ready = false;
}

/* Its fetch may be able to go on. */
static void resume(struct stream *s)
{
	if (s->resuming || !(s->body_waits || s->data_waits))
		return;
	TAILQ_INSERT_TAIL(&s->v2->resuming, s, resume_link);
	s->resuming = true;
}

/* `why`: of a stream that has not failed by itself. */
static void stream_free(struct stream *s, enum fail why)
{
	struct v2 *v = s->v2;

	request_log_end(&s->log, s->failed ? s->fail : why, !s->failed || s->maybe_delivered);
	fetch_cancel(&s->fetch);
	app_websocket_cancel(&s->upgrade);
	unready(s);
	if (s->resuming)
		TAILQ_REMOVE(&v->resuming, s, resume_link);
	HASH_DEL(v->streams, s);
	v->up_bytes -= buf_bytes(&s->up);
	buf_fini(&s->up);
	buf_fini(&s->down);
	head_fini(&s->head);
	free(s);
}

static bool has_news(const struct stream *s)
{
	if (s->failed || (s->head_came && !s->head_sent))
		return true;
	if (!s->head_sent)
		return false;
	return buf_bytes(&s->down) > 0 ? s->flow.send_bytes > 0 : s->down_end;
}

/* --- events of the fetch: they only mark --- */

static void on_connected(void *ctx)
{
	struct stream *s = ctx;

	request_log_connected(&s->log);
}

static void on_head(void *ctx, const struct head *h)
{
	struct stream *s = ctx;

	request_log_head(&s->log, h);

	head_append(&s->head, h);
	s->head_came = true;
	make_ready(s);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct stream *s = ctx;

	buf_append(&s->down, data, bytes);
	s->log.down_bytes += (int64_t)bytes;
	if (has_news(s))
		make_ready(s);
	s->data_waits = buf_bytes(&s->down) >= DOWN_BUFFER_BYTES;
	return !s->data_waits;
}

static void grant(struct stream *s)
{
	uint32_t bytes =
		s->up_end ? 0 : flow_grant(&s->flow, FRAME_WINDOW_BYTES, buf_bytes(&s->up));
	uint8_t payload[4];

	if (bytes == 0)
		return;
	put_be32(payload, bytes);
	put_frame(s->v2, FRAME_WINDOW, s->id, payload, sizeof payload);
}

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	struct stream *s = ctx;
	size_t have = buf_bytes(&s->up);

	if (have == 0 && s->up_end)
		return FETCH_END;
	if (have == 0) {
		s->body_waits = true;
		return FETCH_WAIT;
	}
	if (bytes > have)
		bytes = have;
	s->log.up_bytes += (int64_t)bytes;
	memcpy(out, buf_first(&s->up), bytes);
	buf_consume(&s->up, bytes);
	s->v2->up_bytes -= bytes;
	flow_consumed(&s->flow, bytes);
	grant(s);
	return (ssize_t)bytes;
}

static void on_end(void *ctx, enum fail f, bool maybe_delivered)
{
	struct stream *s = ctx;

	s->fetch = NULL;
	s->upgrade = NULL;
	s->body_waits = s->data_waits = false;
	s->down_end = true;
	s->failed = f != FAIL_NONE;
	s->fail = f;
	s->maybe_delivered = maybe_delivered;
	make_ready(s);
}

static const struct fetch_events events = {on_connected, on_head, on_data, on_body, on_end};

/* --- to the broker --- */

/* HEAD or DATA. Sets *over: nothing of the stream follows. */
static size_t put_stream_frame(struct stream *s, uint8_t *out, bool *over)
{
	size_t bytes = flow_piece_bytes(&s->flow, buf_bytes(&s->down));

	*over = s->down_end && bytes == buf_bytes(&s->down);
	const struct frame_piece piece = {
		.type = s->head_sent ? FRAME_DATA : FRAME_HEAD,
		.flags = *over ? FRAME_END : 0,
		.stream = s->id,
		.head = s->head.data,
		.head_bytes = s->head.bytes,
		.body = buf_first(&s->down),
		.body_bytes = bytes,
	};
	size_t frame_bytes = frame_put_piece(out, &piece);
	log_frame(s->v2, "frame.out",
		  &(struct frame){.type = piece.type,
				  .flags = piece.flags,
				  .stream = s->id,
				  .payload_bytes = frame_bytes - FRAME_HEADER_BYTES});
	if (!s->head_sent)
		head_fini(&s->head);
	s->head_sent = true;
	flow_sent(&s->flow, bytes);
	if (bytes > 0)
		buf_consume(&s->down, bytes);
	if (buf_bytes(&s->down) < DOWN_BUFFER_BYTES / 2)
		resume(s);
	return frame_bytes;
}

static size_t put_failure(struct stream *s, uint8_t *out)
{
	log_frame(s->v2, "frame.out",
		  &(struct frame){.type = FRAME_RESET, .stream = s->id, .payload_bytes = 2});
	frame_put_header(out, FRAME_RESET, 0, s->id, 2);
	out[FRAME_HEADER_BYTES] = (uint8_t)s->fail;
	out[FRAME_HEADER_BYTES + 1] = s->maybe_delivered;
	return FRAME_HEADER_BYTES + 2;
}

/* Streams take turns, a piece each. */
static size_t pull(void *session, uint8_t *out, bool *first, bool *final)
{
	struct v2 *v = session;
	size_t used = frame_move(&v->control, out, MESSAGE_BYTES);
	struct stream *s;

	*first = *final = true;
	while (used < MESSAGE_BYTES && (s = TAILQ_FIRST(&v->ready)) != NULL) {
		bool over = true;
		unready(s);
		if (!has_news(s))
			continue;
		if (s->failed)
			used += put_failure(s, out + used);
		else
			used += put_stream_frame(s, out + used, &over);
		if (over)
			stream_free(s, FAIL_NONE);
		else if (has_news(s))
			make_ready(s);
	}
	return used;
}

static void let_go_on(struct stream *s)
{
	bool body = s->body_waits && (buf_bytes(&s->up) > 0 || s->up_end);
	bool data = s->data_waits && buf_bytes(&s->down) < DOWN_BUFFER_BYTES / 2;

	s->body_waits = s->body_waits && !body;
	s->data_waits = s->data_waits && !data;
	if (!body && !data)
		return;
	if (s->fetch != NULL)
		fetch_resume(s->fetch, body, data);
	else if (s->upgrade != NULL)
		app_websocket_resume(s->upgrade, body, data);
}

static void settle(void *session)
{
	struct v2 *v = session;
	struct stream *s;

	while ((s = TAILQ_FIRST(&v->resuming)) != NULL) {
		TAILQ_REMOVE(&v->resuming, s, resume_link);
		s->resuming = false;
		let_go_on(s);
	}
}

static bool is_unsettled(void *session)
{
	struct v2 *v = session;

	return !TAILQ_EMPTY(&v->resuming);
}

/* --- from the broker --- */

static void on_hello(struct v2 *v, const struct frame *f)
{
	struct head_field field;
	long long window;

	if (!head_valid(f->payload, f->payload_bytes) ||
	    !head_find(f->payload, f->payload_bytes, "version", &field) || field.value_bytes != 1 ||
	    *field.value != '2') {
		give_up(v, 1002, "HELLO of version 2 expected");
		return;
	}
	if (head_find(f->payload, f->payload_bytes, "window", &field) &&
	    http_length_parse(field.value, field.value_bytes, &window) && window >= 65536)
		v->peer_window_bytes = window < INT32_MAX ? window : INT32_MAX;
	v->greeted = true;
}

/* RESET goes to the broker; the tunnel lives. */
static void give_up_stream(struct stream *s, enum fail f)
{
	bool maybe_delivered = s->fetch != NULL || s->upgrade != NULL || s->head_came;

	if (s->failed)
		return;
	fetch_cancel(&s->fetch);
	app_websocket_cancel(&s->upgrade);
	on_end(s, f, maybe_delivered);
}

/* The broker broke the rules of one stream. */
static void on_misuse(struct stream *s, const char *why)
{
	log_limited_warn("", "stream.misused stream=%u corr=%s why=\"%s\"", s->id, s->log.corr,
			 why);
	give_up_stream(s, FAIL_BAD_RESPONSE);
}

/* False: nobody reads it, or there is no room for it and the stream fails. */
static bool keep_up(struct stream *s, const uint8_t *data, size_t bytes)
{
	struct v2 *v = s->v2;

	if (s->down_end) /* the app has answered, or has failed: nobody reads it */
		return false;
	if (v->up_bytes + bytes <= UP_MAX_BYTES && buf_try_append(&s->up, data, bytes)) {
		v->up_bytes += bytes;
		return true;
	}
	give_up_stream(s, FAIL_OVERLOADED);
	return false;
}

/* A piece of a request body. */
static void take_up(struct stream *s, const struct frame *f, const uint8_t *data, size_t bytes)
{
	if (s->failed)
		return;
	if ((s->up_end && bytes > 0) || !flow_received(&s->flow, bytes)) {
		on_misuse(s, s->up_end ? "DATA after END" : "more than the window");
		return;
	}
	if (bytes > 0 && !keep_up(s, data, bytes))
		return;
	s->up_end = s->up_end || (f->flags & FRAME_END);
	resume(s);
}

static void on_open(struct v2 *v, const struct frame *f)
{
	const uint8_t *head, *body;
	size_t head_bytes, body_bytes;
	struct stream *s;

	HASH_FIND(hh, v->streams, &f->stream, sizeof f->stream, s);
	if (f->stream == 0) {
		give_up(v, 1002, "OPEN of stream 0");
		return;
	}
	if (s != NULL) {
		on_misuse(s, "OPEN of a stream that runs");
		return;
	}
	if (!frame_split_head(f, &head, &head_bytes, &body, &body_bytes)) {
		put_reset(v, f->stream, FAIL_BAD_REQUEST, false);
		return;
	}
	if (HASH_COUNT(v->streams) >= STREAMS_MAX) {
		struct request_log refused = {0};
		request_log_begin(&refused, v->socket.connection_id, head, head_bytes, NULL);
		request_log_end(&refused, FAIL_OVERLOADED, false);
		put_reset(v, f->stream, FAIL_OVERLOADED, false);
		return;
	}
	s = xcalloc(1, sizeof *s);
	s->id = f->stream;
	s->v2 = v;
	flow_init(&s->flow, v->peer_window_bytes, FRAME_WINDOW_BYTES);
	HASH_ADD(hh, v->streams, id, sizeof s->id, s);
	request_log_begin(&s->log, v->socket.connection_id, head, head_bytes, NULL);
	take_up(s, f, body, body_bytes);
	if (v->closed || s->failed)
		return;
	bool has_body = body_bytes > 0 || !s->up_end;
	enum fail why = FAIL_BAD_REQUEST;
	if (request_writer_is_upgrade(head, head_bytes))
		s->upgrade = app_websocket_start(v->engine, head, head_bytes, &events, s, &why);
	else
		s->fetch = fetch_start(v->engine, head, head_bytes,
				       has_body ? FETCH_BODY : FETCH_NO_BODY, &events, s, &why);
	if (s->fetch == NULL && s->upgrade == NULL)
		on_end(s, why, false);
}

static void on_window(struct stream *s, const struct frame *f)
{
	if (!flow_on_window(&s->flow, f->payload, f->payload_bytes)) {
		on_misuse(s, "WINDOW out of range");
		return;
	}
	if (has_news(s))
		make_ready(s);
}

/* Why the broker gives a stream up. */
static enum fail reset_reason(const struct frame *f)
{
	bool known =
		f->payload_bytes > 0 && f->payload[0] > FAIL_NONE && f->payload[0] < FAIL_COUNT;

	return known ? (enum fail)f->payload[0] : FAIL_CANCELLED;
}

static void on_stream_frame(struct v2 *v, const struct frame *f)
{
	struct stream *s;

	HASH_FIND(hh, v->streams, &f->stream, sizeof f->stream, s);
	if (s == NULL)
		return; /* over here already, while the frame was under way */
	switch (f->type) {
	case FRAME_DATA:
		take_up(s, f, f->payload, f->payload_bytes);
		break;
	case FRAME_WINDOW:
		on_window(s, f);
		break;
	case FRAME_RESET:
		stream_free(s, reset_reason(f));
		break;
	default: /* of a later version */
		break;
	}
}

static void receive(void *session, const uint8_t *data, size_t bytes)
{
	struct v2 *v = session;
	struct frame f;
	size_t used;

	while (bytes > 0 && !v->closed) {
		if (frame_get(data, bytes, &f, &used) != 1) {
			give_up(v, 1002, "malformed frame");
			return;
		}
		log_frame(v, "frame.in", &f);
		if (!v->greeted && f.type != FRAME_HELLO)
			give_up(v, 1002, "HELLO expected");
		else if (!v->greeted)
			on_hello(v, &f);
		else if (f.type == FRAME_OPEN)
			on_open(v, &f);
		else if (f.type == FRAME_GOAWAY)
			v->goodbye_heard = true;
		else
			on_stream_frame(v, &f);
		data += used;
		bytes -= used;
	}
}

/* --- start and end --- */

static void *open_session(struct fetch_engine *engine, const struct session_socket *socket)
{
	struct v2 *v = xcalloc(1, sizeof *v);
	struct head hello = {0};
	char number[24];

	v->engine = engine;
	v->socket = *socket;
	v->peer_window_bytes = FRAME_WINDOW_BYTES;
	TAILQ_INIT(&v->ready);
	TAILQ_INIT(&v->resuming);
	head_add(&hello, "version", "2");
	snprintf(number, sizeof number, "%d", STREAMS_MAX);
	head_add(&hello, "max-streams", number);
	snprintf(number, sizeof number, "%d", FRAME_WINDOW_BYTES);
	head_add(&hello, "window", number);
	head_add(&hello, "instance", socket->instance);
	head_add(&hello, "agent", "pipegate-client/" PIPEGATE_VERSION);
	put_frame(v, FRAME_HELLO, 0, hello.data, hello.bytes);
	head_fini(&hello);
	return v;
}

static void drain(void *session)
{
	struct v2 *v = session;

	if (!v->goodbye_said)
		put_frame(v, FRAME_GOAWAY, 0, NULL, 0);
	v->goodbye_said = true;
}

static bool is_idle(void *session)
{
	struct v2 *v = session;

	return v->streams == NULL && buf_bytes(&v->control) == 0;
}

/* Streams that the broker opened before it received our GOAWAY may still arrive. */
static bool expects_more(void *session)
{
	struct v2 *v = session;

	return v->goodbye_said && !v->goodbye_heard;
}

static void free_session(void *session)
{
	struct v2 *v = session;
	struct stream *s, *next;

	HASH_ITER (hh, v->streams, s, next)
		stream_free(s, FAIL_TUNNEL_LOST);
	buf_fini(&v->control);
	free(v);
}

static void dump(void *session)
{
	const struct v2 *v = session;
	const struct stream *s = v->streams;
	size_t shown = 0, all = HASH_COUNT(v->streams);

	for (; s != NULL && shown < REQUEST_LOG_DUMP_MAX; s = s->hh.next, shown++)
		request_log_dump(&s->log, s->id, buf_bytes(&s->up) + buf_bytes(&s->down));
	log_info("dump.end requests=%zu requests_left_out=%zu", all, all - shown);
}

const struct session_kind session_v2 = {
	.name = "pipegate.v2",
	.max_message_bytes = FRAME_MAX_MESSAGE_BYTES,
	.open = open_session,
	.receive = receive,
	.pull = pull,
	.settle = settle,
	.is_unsettled = is_unsettled,
	.drain = drain,
	.is_idle = is_idle,
	.dump = dump,
	.expects_more = expects_more,
	.free = free_session,
};
