/* client/v2_stream.c - see v2_stream.h. */
#include "client/v2_stream.h"

#include "client/app_websocket.h"
#include "client/request_log.h"
#include "client/request_writer.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/head.h"
#include "common/log.h"
#include "common/owner.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum {
	DOWN_BUFFER_BYTES = 64 * 1024, /* of a response, here, on its way to the broker */
	/* Limit on the request bodies of all streams, beside the budget of the windows: what 1,024
	 * windows hold that have not grown. */
	UP_MAX_BYTES = 256 * 1024 * 1024,
};

struct v2_stream {
	UT_hash_handle hh; /* all->hash */
	uint32_t id;
	struct v2_streams *all;
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
	int64_t window_charge_bytes; /* what all->windows is charged for it */

	bool failed;
	enum fail fail;
	bool maybe_delivered;

	bool body_waits, data_waits; /* the fetch, for us */
	struct turn turn;	     /* in all->turns: has something to send */
	bool resuming;
	TAILQ_ENTRY(v2_stream) resume_link; /* all->resuming: its fetch can go on */
};

/* -v: each frame of the tunnel. */
void v2_stream_log_frame(const struct v2_stream *s, const char *event, const struct frame *f)
{
	if (!log_verbose)
		return;
	log_debug("%s stream=%u corr=%s kind=%s bytes=%zu end=%d", event, f->stream,
		  s != NULL ? s->log.corr : "-", frame_type_name(f->type), f->payload_bytes,
		  f->flags & FRAME_END);
}

/* --- streams --- */

static void make_ready(struct v2_stream *s)
{
	turns_add(&s->all->turns, &s->turn);
}

/* Its fetch may be able to go on. */
static void mark_resumable(struct v2_stream *s)
{
	if (s->resuming || !(s->body_waits || s->data_waits))
		return;
	TAILQ_INSERT_TAIL(&s->all->resuming, s, resume_link);
	s->resuming = true;
}

/* `why`: of a stream that has not failed by itself. */
void v2_stream_free(struct v2_stream *s, enum fail why)
{
	struct v2_streams *all = s->all;

	request_log_end(&s->log, s->failed ? s->fail : why, !s->failed || s->maybe_delivered);
	fetch_cancel(&s->fetch);
	app_websocket_cancel(&s->upgrade);
	turns_remove(&s->turn);
	if (s->resuming)
		TAILQ_REMOVE(&all->resuming, s, resume_link);
	HASH_DEL(all->hash, s);
	all->up_bytes -= buf_bytes(&s->up);
	window_budget_charge(all->windows, &all->window_share, &s->window_charge_bytes, 0);
	buf_fini(&s->up);
	buf_fini(&s->down);
	head_fini(&s->head);
	free(s);
}

static bool has_news(const struct v2_stream *s)
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
	struct v2_stream *s = ctx;

	request_log_connected(&s->log);
}

static void on_head(void *ctx, const struct head *h)
{
	struct v2_stream *s = ctx;
	char number[24];

	request_log_head(&s->log, h);
	snprintf(number, sizeof number, "%lld", (long long)request_log_app_ms(&s->log));
	head_add(&s->head, ":app-ms", number);
	head_append(&s->head, h);
	s->head_came = true;
	make_ready(s);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct v2_stream *s = ctx;

	buf_append(&s->down, data, bytes);
	s->log.down_bytes += (int64_t)bytes;
	if (has_news(s))
		make_ready(s);
	s->data_waits = buf_bytes(&s->down) >= DOWN_BUFFER_BYTES;
	return !s->data_waits;
}

void v2_stream_ping(struct v2_streams *all, enum rtt_occasion occasion)
{
	uint8_t payload[FRAME_PING_BYTES];

	if (rtt_ping(&all->rtt, all->now_ms(all->ctx), occasion, payload))
		all->put_frame(all->ctx, FRAME_PING, 0, payload, sizeof payload);
}

static void grow_window(struct v2_stream *s)
{
	struct v2_streams *all = s->all;

	if (!window_budget_admits(all->windows, &all->window_share, INT64_MAX,
				  flow_growth_bytes(&s->flow)))
		return;
	flow_grow(&s->flow);
	log_debug("window.grown stream=%u corr=%s window_bytes=%lld rtt_ms=%lld", s->id,
		  s->log.corr, (long long)s->flow.window_bytes, (long long)all->rtt.least_ms);
}

/* A part of the request body went to the app: the broker may send more of it. */
static void on_consumed(struct v2_stream *s, size_t bytes)
{
	struct v2_streams *all = s->all;
	size_t held_bytes = buf_bytes(&s->up);
	uint8_t payload[4];

	uint32_t grant_bytes = 0;

	if (s->up_end)
		flow_end(&s->flow);
	else if (flow_consumed(&s->flow, bytes, held_bytes, all->now_ms(all->ctx),
			       all->rtt.least_ms))
		grow_window(s);
	if (!s->up_end)
		grant_bytes = flow_grant(&s->flow, INT64_MAX, held_bytes);
	window_budget_charge(all->windows, &all->window_share, &s->window_charge_bytes,
			     flow_extra_bytes(&s->flow, held_bytes));
	if (grant_bytes == 0)
		return;
	put_be32(payload, grant_bytes);
	all->put_frame(all->ctx, FRAME_WINDOW, s->id, payload, sizeof payload);
	v2_stream_ping(all, RTT_BULK);
}

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	struct v2_stream *s = ctx;
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
	s->all->up_bytes -= bytes;
	on_consumed(s, bytes);
	return (ssize_t)bytes;
}

static void on_end(void *ctx, enum fail f, bool maybe_delivered)
{
	struct v2_stream *s = ctx;

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
static size_t put_stream_frame(struct v2_stream *s, uint8_t *out, bool *over)
{
	size_t bytes = flow_piece_bytes(&s->flow, buf_bytes(&s->down));

	*over = s->down_end && !s->failed && bytes == buf_bytes(&s->down);
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
	v2_stream_log_frame(s, "frame.out",
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
		mark_resumable(s);
	return frame_bytes;
}

/* What the app sent before it failed goes first, as far as the window allows: the caller gets head
 * and bytes, then a cut. */
static bool owes_response(const struct v2_stream *s)
{
	if (s->fail != FAIL_TARGET_UNREACHABLE || !s->head_came)
		return false;
	return !s->head_sent || (buf_bytes(&s->down) > 0 && s->flow.send_bytes > 0);
}

static size_t put_failure(struct v2_stream *s, uint8_t *out)
{
	v2_stream_log_frame(
		s, "frame.out",
		&(struct frame){.type = FRAME_RESET, .stream = s->id, .payload_bytes = 2});
	frame_put_header(out, FRAME_RESET, 0, s->id, 2);
	out[FRAME_HEADER_BYTES] = (uint8_t)s->fail;
	out[FRAME_HEADER_BYTES + 1] = s->maybe_delivered;
	return FRAME_HEADER_BYTES + 2;
}

size_t v2_stream_pull(struct v2_streams *all, uint8_t *out, size_t used)
{
	struct turn *next;

	while (used < V2_STREAM_MESSAGE_BYTES && (next = turns_next(&all->turns)) != NULL) {
		struct v2_stream *s = OWNER_OF(next, struct v2_stream, turn);
		bool over = true;
		size_t bytes = 0;
		if (s->failed && !owes_response(s))
			bytes = put_failure(s, out + used);
		else if (has_news(s))
			bytes = put_stream_frame(s, out + used, &over);
		else
			over = false;
		turns_sent(&all->turns, next, bytes, !over && has_news(s));
		if (over)
			v2_stream_free(s, FAIL_NONE);
		used += bytes;
	}
	return used;
}

static void resume(struct v2_stream *s)
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

void v2_stream_resume_all(struct v2_streams *all)
{
	struct v2_stream *s;

	while ((s = TAILQ_FIRST(&all->resuming)) != NULL) {
		TAILQ_REMOVE(&all->resuming, s, resume_link);
		s->resuming = false;
		resume(s);
	}
}

bool v2_stream_must_resume(const struct v2_streams *all)
{
	return !TAILQ_EMPTY(&all->resuming);
}

/* --- from the broker --- */

/* RESET goes to the broker; the tunnel lives. */
static void give_up_stream(struct v2_stream *s, enum fail f)
{
	bool maybe_delivered = s->fetch != NULL || s->upgrade != NULL || s->head_came;

	if (s->failed)
		return;
	fetch_cancel(&s->fetch);
	app_websocket_cancel(&s->upgrade);
	on_end(s, f, maybe_delivered);
}

/* The broker broke the rules of one stream. */
void v2_stream_on_misuse(struct v2_stream *s, const char *why)
{
	log_limited_warn("", "stream.misused stream=%u corr=%s why=\"%s\"", s->id, s->log.corr,
			 why);
	give_up_stream(s, FAIL_BAD_RESPONSE);
}

/* False: nobody reads it, or there is no room for it and the stream fails. */
static bool keep_up(struct v2_stream *s, const uint8_t *data, size_t bytes)
{
	struct v2_streams *all = s->all;

	if (s->down_end) /* the app has responded, or has failed: nobody reads it */
		return false;
	size_t most_bytes = UP_MAX_BYTES + (size_t)all->windows->total_bytes;
	if (all->up_bytes + bytes <= most_bytes && buf_try_append(&s->up, data, bytes)) {
		all->up_bytes += bytes;
		return true;
	}
	give_up_stream(s, FAIL_OVERLOADED);
	return false;
}

/* A piece of a request body. */
void v2_stream_on_data(struct v2_stream *s, const struct frame *f, const uint8_t *data,
		       size_t bytes)
{
	if (s->failed)
		return;
	if ((s->up_end && bytes > 0) || !flow_received(&s->flow, bytes)) {
		v2_stream_on_misuse(s, s->up_end ? "DATA after END" : "more than the window");
		return;
	}
	if (bytes > 0 && !keep_up(s, data, bytes))
		return;
	s->up_end = s->up_end || (f->flags & FRAME_END);
	mark_resumable(s);
}

void v2_stream_open(struct v2_streams *all, const struct frame *f, const uint8_t *head,
		    size_t head_bytes, const uint8_t *body, size_t body_bytes)
{
	struct v2_stream *s = xcalloc(1, sizeof *s);

	s->id = f->stream;
	s->all = all;
	flow_init(&s->flow, all->peer_window_bytes, FRAME_WINDOW_BYTES);
	HASH_ADD(hh, all->hash, id, sizeof s->id, s);
	request_log_begin(&s->log, all->connection_id, head, head_bytes, NULL);
	if (!(f->flags & FRAME_END))
		v2_stream_ping(all, RTT_START);
	v2_stream_on_data(s, f, body, body_bytes);
	if (s->failed)
		return;
	bool has_body = body_bytes > 0 || !s->up_end;
	enum fail why = FAIL_BAD_REQUEST;
	if (request_writer_is_upgrade(head, head_bytes))
		s->upgrade = app_websocket_start(all->engine, head, head_bytes, &events, s, &why);
	else
		s->fetch = fetch_start(all->engine, head, head_bytes,
				       has_body ? FETCH_BODY : FETCH_NO_BODY, &events, s, &why);
	if (s->fetch == NULL && s->upgrade == NULL)
		on_end(s, why, false);
}

void v2_stream_on_window(struct v2_stream *s, const struct frame *f)
{
	if (!flow_on_window(&s->flow, f->payload, f->payload_bytes)) {
		v2_stream_on_misuse(s, "WINDOW out of range");
		return;
	}
	if (has_news(s))
		make_ready(s);
}

/* --- all streams --- */

void v2_stream_init_all(struct v2_streams *all)
{
	turns_init(&all->turns);
	TAILQ_INIT(&all->resuming);
}

void v2_stream_free_all(struct v2_streams *all)
{
	struct v2_stream *s, *next;

	HASH_ITER (hh, all->hash, s, next)
		v2_stream_free(s, FAIL_TUNNEL_LOST);
}

size_t v2_stream_count(const struct v2_streams *all)
{
	return HASH_COUNT(all->hash);
}

struct v2_stream *v2_stream_find(const struct v2_streams *all, uint32_t id)
{
	struct v2_stream *s;

	HASH_FIND(hh, all->hash, &id, sizeof id, s);
	return s;
}

void v2_stream_dump(const struct v2_streams *all)
{
	const struct v2_stream *s = all->hash;
	size_t shown = 0, count = v2_stream_count(all);

	for (; s != NULL && shown < REQUEST_LOG_DUMP_MAX; s = s->hh.next, shown++)
		request_log_dump(&s->log, s->id, buf_bytes(&s->up) + buf_bytes(&s->down));
	log_info("dump.end requests=%zu requests_left_out=%zu", count, count - shown);
}
