/* client/v2.c - A tunnel of protocol v2 (common/PROTOCOL.md, "Tunnel v2"), client's side: HELLO,
 * the frames of the broker, and the goodbye. v2_stream.h has the streams. */
#include "client/request_log.h"
#include "client/session.h"
#include "client/v2_stream.h"
#include "common/buf.h"
#include "common/frame.h"
#include "common/head.h"
#include "common/http.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	STREAMS_MAX = 4096, /* our "max-streams" */
	CONTROL_MAX_BYTES = 1024 * 1024,
};

struct v2 {
	struct session_socket socket;
	struct v2_streams streams;
	struct buf control; /* whole frames that go first */
	bool greeted;	    /* the broker's HELLO came */
	bool goodbye_said, goodbye_heard;
	bool closed; /* we asked for it: nothing more is taken */
};

static void give_up(struct v2 *v, int code, const char *reason)
{
	if (!v->closed)
		v->socket.close(v->socket.ctx, code, reason);
	v->closed = true;
}

static void log_frame(const struct v2 *v, const char *event, const struct frame *f)
{
	if (log_verbose)
		v2_stream_log_frame(v2_stream_find(&v->streams, f->stream), event, f);
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

/* Called by a stream. */
static void put_stream_frame(void *ctx, uint8_t type, uint32_t stream, const void *payload,
			     size_t bytes)
{
	put_frame(ctx, type, stream, payload, bytes);
}

static int64_t stream_now_ms(void *ctx)
{
	const struct v2 *v = ctx;

	return v->socket.now_ms(v->socket.ctx);
}

/* Writes the PONG that is due, ahead of the frames of streams. Never ahead of control frames: our
 * HELLO may be among them. */
static size_t put_pong(struct v2 *v, uint8_t *out)
{
	if (buf_bytes(&v->control) > 0 || !rtt_take_pong(&v->streams.rtt, out + FRAME_HEADER_BYTES))
		return 0;
	frame_put_header(out, FRAME_PONG, 0, 0, FRAME_PING_BYTES);
	log_frame(v, "frame.out",
		  &(struct frame){.type = FRAME_PONG, .payload_bytes = FRAME_PING_BYTES});
	return FRAME_HEADER_BYTES + FRAME_PING_BYTES;
}

static size_t pull(void *session, uint8_t *out, bool *first, bool *final)
{
	struct v2 *v = session;
	size_t used = frame_move(&v->control, out, V2_STREAM_MESSAGE_BYTES);

	used += put_pong(v, out + used);

	*first = *final = true;
	return v2_stream_pull(&v->streams, out, used);
}

static void resume_streams(void *session)
{
	struct v2 *v = session;

	v2_stream_resume_all(&v->streams);
}

static bool must_resume(void *session)
{
	struct v2 *v = session;

	return v2_stream_must_resume(&v->streams);
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
		v->streams.peer_window_bytes = window < INT32_MAX ? window : INT32_MAX;
	v->greeted = true;
}

static void on_open(struct v2 *v, const struct frame *f)
{
	const uint8_t *head, *body;
	size_t head_bytes, body_bytes;

	if (f->stream == 0) {
		give_up(v, 1002, "OPEN of stream 0");
		return;
	}
	struct v2_stream *s = v2_stream_find(&v->streams, f->stream);
	if (s != NULL) {
		v2_stream_on_misuse(s, "OPEN of a stream that runs");
		return;
	}
	if (!frame_split_head(f, &head, &head_bytes, &body, &body_bytes)) {
		put_reset(v, f->stream, FAIL_BAD_REQUEST, false);
		return;
	}
	if (v2_stream_count(&v->streams) >= STREAMS_MAX) {
		struct request_log refused = {0};
		request_log_begin(&refused, v->socket.connection_id, head, head_bytes, NULL);
		request_log_end(&refused, FAIL_OVERLOADED, false);
		put_reset(v, f->stream, FAIL_OVERLOADED, false);
		return;
	}
	v2_stream_open(&v->streams, f, head, head_bytes, body, body_bytes);
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
	struct v2_stream *s = v2_stream_find(&v->streams, f->stream);

	if (s == NULL)
		return; /* over here already, while the frame was under way */
	switch (f->type) {
	case FRAME_DATA:
		v2_stream_on_data(s, f, f->payload, f->payload_bytes);
		break;
	case FRAME_WINDOW:
		v2_stream_on_window(s, f);
		break;
	case FRAME_RESET:
		v2_stream_free(s, reset_reason(f));
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
		else if (f.type == FRAME_PING || f.type == FRAME_PONG)
			rtt_on_frame(&v->streams.rtt, stream_now_ms(v), &f);
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

	v->socket = *socket;
	v->streams = (struct v2_streams){
		.engine = engine,
		.connection_id = socket->connection_id,
		.put_frame = put_stream_frame,
		.now_ms = stream_now_ms,
		.ctx = v,
		.peer_window_bytes = FRAME_LEAST_WINDOW_BYTES,
		.windows = socket->windows,
	};
	v2_stream_init_all(&v->streams);
	head_add(&hello, "version", "2");
	snprintf(number, sizeof number, "%d", STREAMS_MAX);
	head_add(&hello, "max-streams", number);
	snprintf(number, sizeof number, "%d", FRAME_WINDOW_BYTES);
	head_add(&hello, "window", number);
	head_add(&hello, "instance", socket->instance);
	head_add(&hello, "agent", "pipegate-client/" PIPEGATE_VERSION);
	put_frame(v, FRAME_HELLO, 0, hello.data, hello.bytes);
	head_fini(&hello);
	v2_stream_ping(&v->streams, RTT_START);
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

	return v2_stream_count(&v->streams) == 0 && buf_bytes(&v->control) == 0;
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

	v2_stream_free_all(&v->streams);
	buf_fini(&v->control);
	free(v);
}

static void dump(void *session)
{
	const struct v2 *v = session;

	v2_stream_dump(&v->streams);
}

const struct session_kind session_v2 = {
	.name = "pipegate.v2",
	.max_message_bytes = FRAME_MAX_MESSAGE_BYTES,
	.open = open_session,
	.receive = receive,
	.pull = pull,
	.resume = resume_streams,
	.must_resume = must_resume,
	.drain = drain,
	.is_idle = is_idle,
	.dump = dump,
	.expects_more = expects_more,
	.free = free_session,
};
