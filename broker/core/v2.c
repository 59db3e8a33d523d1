/* broker/core/v2.c - The protocol of tunnel protocol v2 (common/PROTOCOL.md, "Tunnel v2"),
 * broker's side. */
#include "broker/core/core.h"
#include "common/bytes.h"
#include "common/frame.h"
#include "common/head.h"
#include "common/http.h"
#include "common/id.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

enum {
	UP_BUFFER_BYTES = 256 * 1024,	 /* limit on buffered bytes of one request body */
	MESSAGE_BYTES = 64 * 1024,	 /* a message is sent once it has this many */
	TIGHT_WINDOW_BYTES = 64 * 1024,	 /* while budget_is_tight() */
	CONTROL_MAX_BYTES = 1024 * 1024, /* limit on unsent control frames; then 1008 */
};

static struct exchange *find_stream(const struct tunnel *t, uint32_t stream)
{
	struct exchange *x;

	HASH_FIND(v2.hh, t->v2.streams, &stream, sizeof stream, x);
	return x != NULL && x->sent ? x : NULL;
}

/* -v: each frame of the tunnel; `x` NULL: of none that is known. */
static void log_frame(const struct tunnel *t, const char *event, const struct exchange *x,
		      const struct frame *f)
{
	char corr_hex[2 * CORR_BYTES + 1] = "-";

	if (!log_verbose)
		return;
	if (x != NULL)
		id_to_hex(x->corr, CORR_BYTES, corr_hex);
	log_debug("%s conn=%s tunnel=%llu stream=%u corr=%s kind=%s bytes=%zu end=%d", event, t->id,
		  (unsigned long long)t->number, f->stream, corr_hex, frame_type_name(f->type),
		  f->payload_bytes, f->flags & FRAME_END);
}

static void put_frame(struct tunnel *t, uint8_t type, uint32_t stream, const void *payload,
		      size_t bytes)
{
	frame_append(&t->out, type, stream, payload, bytes);
	if (log_verbose)
		log_frame(t, "frame.out", find_stream(t, stream),
			  &(struct frame){.type = type, .stream = stream, .payload_bytes = bytes});
	tunnel_recount(t);
	if (buf_bytes(&t->out) > CONTROL_MAX_BYTES)
		tunnel_doom(t, 1008, "reads nothing");
	tunnel_touch(t);
}

/* Measures the round trip, if it is time to. */
static void ping(struct tunnel *t, enum rtt_occasion occasion)
{
	uint8_t payload[FRAME_PING_BYTES];

	if (rtt_ping(&t->v2.rtt, t->hub->now_ms, occasion, payload))
		put_frame(t, FRAME_PING, 0, payload, sizeof payload);
}

static void start(struct tunnel *t)
{
	struct head hello = {0};
	char number[24];

	t->v2.peer_window_bytes = FRAME_LEAST_WINDOW_BYTES;
	head_add(&hello, "version", "2");
	snprintf(number, sizeof number, "%zu", t->max_running);
	head_add(&hello, "max-streams", number);
	snprintf(number, sizeof number, "%d", FRAME_WINDOW_BYTES);
	head_add(&hello, "window", number);
	head_add(&hello, "agent", "pipegate-broker/" PIPEGATE_VERSION);
	put_frame(t, FRAME_HELLO, 0, hello.data, hello.bytes);
	head_fini(&hello);
	ping(t, RTT_START);
}

static void goodbye(struct tunnel *t)
{
	put_frame(t, FRAME_GOAWAY, 0, NULL, 0);
}

static enum fail refuses(const struct tunnel *t, const struct exchange *x)
{
	(void)t;
	(void)x;
	return FAIL_NONE;
}

/* --- the way down --- */

static bool has_news(const struct exchange *x)
{
	if (!x->sent)
		return true;
	if (buf_bytes(&x->up) > 0)
		return x->v2.flow.send_bytes > 0;
	return x->up_end && !x->up_end_sent;
}

static void begin_stream(struct tunnel *t, struct exchange *x)
{
	struct exchange *other;

	do { /* ids wrap after 2^32 exchanges */
		t->v2.last_stream++;
		HASH_FIND(v2.hh, t->v2.streams, &t->v2.last_stream, sizeof t->v2.last_stream,
			  other);
	} while (t->v2.last_stream == 0 || other != NULL);
	x->v2.stream = t->v2.last_stream;
	flow_init(&x->v2.flow, t->v2.peer_window_bytes, FRAME_WINDOW_BYTES);
	HASH_ADD(v2.hh, t->v2.streams, v2.stream, sizeof x->v2.stream, x);
	ping(t, RTT_START);
}

static void more(struct tunnel *t, struct exchange *x)
{
	if (x->v2.stream == 0)
		begin_stream(t, x);
	if (has_news(x))
		tunnel_ready(t, x);
}

static int64_t credit(const struct tunnel *t, const struct exchange *x)
{
	(void)t;
	size_t held = buf_bytes(&x->up);
	size_t most = held < UP_BUFFER_BYTES ? UP_BUFFER_BYTES - held : 0;

	if (budget_is_full(x->home))
		return 0;
	/* Half a piece or nothing: a small credit would keep all later messages of the upload
	 * small. */
	return most >= GATE_PIECE_BYTES / 2 ? (int64_t)most : 0;
}

/* Writes the next frame of one stream: OPEN, or DATA. */
static size_t put_stream_frame(struct exchange *x, uint8_t *out)
{
	size_t bytes = flow_piece_bytes(&x->v2.flow, buf_bytes(&x->up));
	bool end = x->up_end && bytes == buf_bytes(&x->up);
	const struct frame_piece piece = {
		.type = x->sent ? FRAME_DATA : FRAME_OPEN,
		.flags = end ? FRAME_END : 0,
		.stream = x->v2.stream,
		.head = buf_first(&x->head),
		.head_bytes = buf_bytes(&x->head),
		.body = buf_first(&x->up),
		.body_bytes = bytes,
	};
	size_t frame_bytes = frame_put_piece(out, &piece);

	log_frame(x->tunnel, "frame.out", x,
		  &(struct frame){.type = piece.type,
				  .flags = piece.flags,
				  .stream = x->v2.stream,
				  .payload_bytes = frame_bytes - FRAME_HEADER_BYTES});
	if (!x->sent)
		buf_fini(&x->head);
	if (bytes > 0) {
		buf_consume(&x->up, bytes);
		flow_sent(&x->v2.flow, bytes);
		exchange_progress(x);
	}
	if (!x->sent)
		exchange_mark_sent(x);
	exchange_recount(x);
	x->up_end_sent = end;
	if (!x->up_end)
		exchange_touch(x); /* there is credit again */
	return frame_bytes;
}

static size_t stream_frame_max_bytes(const struct exchange *x)
{
	return FRAME_HEADER_BYTES + (x->sent ? 0 : 4 + buf_bytes(&x->head)) + FRAME_DATA_BYTES;
}

/* Writes the PONG that is due, ahead of the frames of streams. Never ahead of control frames: our
 * HELLO may be among them. */
static size_t put_pong(struct tunnel *t, uint8_t *out)
{
	if (buf_bytes(&t->out) > 0 || !rtt_take_pong(&t->v2.rtt, out + FRAME_HEADER_BYTES))
		return 0;
	frame_put_header(out, FRAME_PONG, 0, 0, FRAME_PING_BYTES);
	log_frame(t, "frame.out", NULL,
		  &(struct frame){.type = FRAME_PONG, .payload_bytes = FRAME_PING_BYTES});
	return FRAME_HEADER_BYTES + FRAME_PING_BYTES;
}

static size_t pull(struct tunnel *t, uint8_t *out, bool *first, bool *final)
{
	size_t used = frame_move(&t->out, out, MESSAGE_BYTES);
	struct exchange *x;

	used += put_pong(t, out + used);
	*first = *final = true;
	while (used < MESSAGE_BYTES && (x = tunnel_next(t)) != NULL) {
		if (used + stream_frame_max_bytes(x) > TUNNEL_PULL_BYTES)
			break;
		size_t bytes = put_stream_frame(x, out + used);
		turns_sent(&t->turns, &x->turn, bytes, has_news(x));
		used += bytes;
	}
	return used;
}

static void log_window(const struct exchange *x)
{
	char corr_hex[2 * CORR_BYTES + 1];

	if (!log_verbose)
		return;
	id_to_hex(x->corr, CORR_BYTES, corr_hex);
	log_debug("window.grown conn=%s corr=%s window_bytes=%lld rtt_ms=%lld", x->home->id,
		  corr_hex, (long long)x->v2.flow.window_bytes,
		  (long long)x->tunnel->v2.rtt.least_ms);
}

static void consumed(struct tunnel *t, struct exchange *x, size_t bytes)
{
	bool tight = budget_is_tight(x->home);
	size_t held_bytes = buf_bytes(&x->down);
	uint8_t payload[4];
	uint32_t grant_bytes;

	if (flow_consumed(&x->v2.flow, bytes, held_bytes, t->hub->now_ms, t->v2.rtt.least_ms) &&
	    !tight && budget_admits_window(x)) {
		flow_grow(&x->v2.flow);
		log_window(x);
	}
	grant_bytes = flow_grant(&x->v2.flow, tight ? TIGHT_WINDOW_BYTES : INT64_MAX, held_bytes);
	if (grant_bytes == 0)
		return;
	put_be32(payload, grant_bytes);
	put_frame(t, FRAME_WINDOW, x->v2.stream, payload, sizeof payload);
	ping(t, RTT_BULK);
}

static void cancel(struct tunnel *t, struct exchange *x, enum fail f)
{
	uint8_t payload[2] = {(uint8_t)f, 1};

	if (x->sent && t->state != TUNNEL_DEAD)
		put_frame(t, FRAME_RESET, x->v2.stream, payload, sizeof payload);
}

static void detach(struct tunnel *t, struct exchange *x)
{
	if (x->v2.stream != 0)
		HASH_DELETE(v2.hh, t->v2.streams, x);
	x->v2.stream = 0;
	flow_end(&x->v2.flow);
	exchange_recount(x);
}

/* --- the way up --- */

static void take_number(const struct frame *f, const char *name, int64_t least, int64_t most,
			int64_t *out)
{
	struct head_field field;
	long long value;

	if (head_find(f->payload, f->payload_bytes, name, &field) &&
	    http_length_parse(field.value, field.value_bytes, &value) && value >= least)
		*out = value < most ? value : most;
}

static void on_hello(struct tunnel *t, const struct frame *f)
{
	struct head_field field;
	int64_t max_streams = (int64_t)t->max_running;

	if (!head_valid(f->payload, f->payload_bytes) ||
	    !head_find(f->payload, f->payload_bytes, "version", &field) || field.value_bytes != 1 ||
	    *field.value != '2') {
		tunnel_kill(t, 1002, "HELLO of version 2 expected");
		return;
	}
	take_number(f, "max-streams", 1, (int64_t)t->max_running, &max_streams);
	t->max_running = (size_t)max_streams;
	take_number(f, "window", FRAME_LEAST_WINDOW_BYTES, 16 << 20, &t->v2.peer_window_bytes);
	if (head_find(f->payload, f->payload_bytes, "instance", &field) &&
	    field.value_bytes == sizeof t->instance - 1)
		memcpy(t->instance, field.value, field.value_bytes);
	if (head_find(f->payload, f->payload_bytes, "agent", &field))
		log_quote(t->agent, sizeof t->agent, field.value, field.value_bytes);
	tunnel_opened(t);
}

/* Body bytes of HEAD or DATA. False: the stream is over. */
static bool take_data(struct exchange *x, const struct frame *f, const uint8_t *data, size_t bytes)
{
	if (!flow_received(&x->v2.flow, bytes)) {
		exchange_fail(x, FAIL_BAD_RESPONSE);
		return false;
	}
	if (bytes > 0 && !exchange_on_data(x, data, bytes))
		return false;
	if (f->flags & FRAME_END)
		exchange_on_end(x);
	return true;
}

static void on_head(struct exchange *x, const struct frame *f)
{
	const uint8_t *head, *body;
	size_t head_bytes, body_bytes;

	if (x->head_came || !frame_split_head(f, &head, &head_bytes, &body, &body_bytes) ||
	    head_bytes == 0 || head_bytes > FRAME_REQUEST_HEAD_MAX_BYTES) {
		exchange_fail(x, FAIL_BAD_RESPONSE);
		return;
	}
	if (exchange_on_head(x, head, head_bytes))
		(void)take_data(x, f, body, body_bytes);
}

static void on_data(struct exchange *x, const struct frame *f)
{
	if (!x->head_came)
		exchange_fail(x, FAIL_BAD_RESPONSE);
	else
		(void)take_data(x, f, f->payload, f->payload_bytes);
}

static void on_window(struct tunnel *t, struct exchange *x, const struct frame *f)
{
	if (!flow_on_window(&x->v2.flow, f->payload, f->payload_bytes)) {
		exchange_fail(x, FAIL_BAD_RESPONSE);
		return;
	}
	if (has_news(x))
		tunnel_ready(t, x);
}

static void on_reset(struct exchange *x, const struct frame *f)
{
	enum fail why = FAIL_TARGET_UNREACHABLE;

	if (f->payload_bytes >= 1) {
		switch (f->payload[0]) {
		case FAIL_BAD_RESPONSE:
		case FAIL_UNSUPPORTED:
		case FAIL_RESPONSE_TIMEOUT:
		case FAIL_BODY_TOO_LARGE:
		case FAIL_BAD_PATH:
		case FAIL_BAD_REQUEST:
		case FAIL_OVERLOADED:
			why = (enum fail)f->payload[0];
			break;
		default:
			break;
		}
	}
	if (f->payload_bytes >= 2 && f->payload[1] == 0)
		exchange_mark_unserved(x);
	tunnel_detach(x); /* the client has ended it: sends no RESET back */
	exchange_fail(x, why);
}

static void on_stream_frame(struct tunnel *t, const struct frame *f)
{
	struct exchange *x = find_stream(t, f->stream);

	if (x == NULL)
		return; /* ended here while the frame was in flight */
	switch (f->type) {
	case FRAME_HEAD:
		on_head(x, f);
		break;
	case FRAME_DATA:
		on_data(x, f);
		break;
	case FRAME_WINDOW:
		on_window(t, x, f);
		break;
	case FRAME_RESET:
		on_reset(x, f);
		break;
	default: /* from a later version: ignore */
		break;
	}
}

/* Confirms the GOAWAY, so that the client knows that no new stream is in flight. */
static void on_goaway(struct tunnel *t)
{
	if (t->state != TUNNEL_OPEN)
		return;
	tunnel_leaving(t);
	goodbye(t);
}

static void on_ping_or_pong(struct tunnel *t, const struct frame *f)
{
	rtt_on_frame(&t->v2.rtt, t->hub->now_ms, f);
	if (t->v2.rtt.pong_due)
		tunnel_touch(t);
}

static void receive(struct tunnel *t, const uint8_t *data, size_t bytes)
{
	struct frame f;
	size_t used;

	while (bytes > 0 && t->state != TUNNEL_DEAD && t->doom == NULL) {
		if (frame_get(data, bytes, &f, &used) != 1) {
			tunnel_kill(t, 1002, "malformed frame");
			return;
		}
		if (log_verbose)
			log_frame(t, "frame.in", find_stream(t, f.stream), &f);
		if (t->state == TUNNEL_GREETING && f.type != FRAME_HELLO)
			tunnel_kill(t, 1002, "HELLO expected");
		else if (t->state == TUNNEL_GREETING)
			on_hello(t, &f);
		else if (f.type == FRAME_GOAWAY)
			on_goaway(t);
		else if (f.type == FRAME_PING || f.type == FRAME_PONG)
			on_ping_or_pong(t, &f);
		else
			on_stream_frame(t, &f);
		data += used;
		bytes -= used;
	}
}

const struct protocol protocol_v2 = {
	.name = "v2",
	.start = start,
	.goodbye = goodbye,
	.refuses = refuses,
	.more = more,
	.credit = credit,
	.consumed = consumed,
	.cancel = cancel,
	.detach = detach,
	.pull = pull,
	.receive = receive,
	.max_message_bytes = FRAME_MAX_MESSAGE_BYTES,
};
