/* client/origin.c - see origin.h.
 *
 *   fetch_start() -> due --next turn--> connecting, or a kept wire -> the request goes, the answer comes -> end
 *
 * Both directions run at once: an app may answer before it has read the request, and close. So what it said is
 * read before a failed write is judged. Once its answer is complete the fetch is over, whatever became of the rest
 * of the request; the wire is kept only if nothing is left over in either direction. */
#include "client/origin.h"

#include "client/answer.h"
#include "client/pool.h"
#include "client/request.h"
#include "client/wire.h"
#include "common/buf.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	PIECE_BYTES = FETCH_PIECE_BYTES,
	CHUNK_LINE_BYTES = 16,	  /* before it */
	CHUNK_END_BYTES = 2,	  /* behind it */
	GATHER_BYTES = 16 * 1024, /* what goes in one write with the head */
	CONTINUE_WAIT_MS = 1000,  /* for 100 Continue */
};

TAILQ_HEAD(fetch_list, fetch);

struct origin {
	uv_loop_t *loop;
	const struct settings *settings;
	struct wires *wires;
	struct pool *pool;
	struct fetch_list due; /* started since the last turn */
	uv_idle_t soon;
	struct fetch_list expecting; /* 100 Continue, in the order of their deadlines */
	uv_timer_t patience;
	int open_handles;
	uint8_t in[PIECE_BYTES], out[CHUNK_LINE_BYTES + PIECE_BYTES + CHUNK_END_BYTES];
};

struct fetch {
	TAILQ_ENTRY(fetch) link;
	struct fetch_list *list; /* the one that it is in; NULL: none */
	struct origin *origin;
	const struct fetch_events *events;
	void *ctx;
	struct wire *wire; /* NULL: due */
	bool connected;
	bool kept; /* the wire had carried another request */

	struct request request;
	enum { BODY_HELD, BODY_GOING, BODY_OVER, BODY_SHORT } body;
	bool body_waits; /* the owner has nothing more now */
	bool begun;	 /* the kernel has a byte of the request */
	bool broken;	 /* it takes no more */
	struct buf out;	 /* the head, with what goes with it; later the rest of a piece */
	uint64_t continue_ms;

	struct answer *answer;
	enum answer_state state;
	struct buf in; /* came from the app, and is not parsed */
};

/* --- lists --- */

static void join(struct fetch *f, struct fetch_list *list)
{
	TAILQ_INSERT_TAIL(list, f, link);
	f->list = list;
}

static void leave(struct fetch *f)
{
	if (f->list != NULL)
		TAILQ_REMOVE(f->list, f, link);
	f->list = NULL;
}

/* --- the end --- */

static void fetch_free(struct fetch *f)
{
	leave(f);
	wire_close(&f->wire);
	answer_destroy(&f->answer);
	buf_fini(&f->out);
	buf_fini(&f->in);
	free(f);
}

/* The wire can carry another request. */
static bool is_reusable(const struct fetch *f)
{
	return f->origin->settings->keep_alive && f->state == ANSWER_COMPLETE &&
	       answer_keeps_open(f->answer) &&
	       buf_bytes(&f->in) == 0 && f->body == BODY_OVER && buf_bytes(&f->out) == 0 &&
	       !f->broken;
}

static void finish(struct fetch *f, enum fail why)
{
	if (why == FAIL_NONE && is_reusable(f))
		pool_put(f->origin->pool, &f->wire);
	f->events->end(f->ctx, why, f->begun);
	fetch_free(f);
}

static void fail(struct fetch *f, enum fail why, const char *text)
{
	log_info("target.failed why=\"%s\" head=%d", text, answer_status(f->answer));
	finish(f, why);
}

/* --- the request --- */

static const uint8_t *frame_chunk(uint8_t *data, size_t bytes, size_t *framed_bytes)
{
	char line[CHUNK_LINE_BYTES];
	int line_bytes = snprintf(line, sizeof line, "%zx\r\n", bytes);

	memcpy(data - line_bytes, line, (size_t)line_bytes);
	memcpy(data + bytes, "\r\n", 2);
	*framed_bytes = (size_t)line_bytes + bytes + 2;
	return data - line_bytes;
}

/* The owner's next piece, as it goes out. NULL: there is none now. */
static const uint8_t *next_piece(struct fetch *f, size_t *bytes)
{
	static const char last_chunk[] = "0\r\n\r\n";
	uint8_t *room = f->origin->out + CHUNK_LINE_BYTES;
	struct request *r = &f->request;
	size_t most = PIECE_BYTES;

	if (f->body != BODY_GOING || f->body_waits)
		return NULL;
	if (!r->chunked && r->body_bytes < (long long)most)
		most = (size_t)r->body_bytes;
	ssize_t got = f->events->body(f->ctx, room, most);
	f->body_waits = got == FETCH_WAIT;
	if (got == FETCH_END) {
		f->body = r->chunked ? BODY_OVER : BODY_SHORT;
		*bytes = sizeof last_chunk - 1;
		return r->chunked ? (const uint8_t *)last_chunk : NULL;
	}
	if (got <= 0)
		return NULL;
	*bytes = (size_t)got;
	if (r->chunked)
		return frame_chunk(room, *bytes, bytes);
	r->body_bytes -= got;
	if (r->body_bytes == 0)
		f->body = BODY_OVER;
	return room;
}

/* What is there of the body goes with the head. */
static void gather(struct fetch *f)
{
	const uint8_t *piece;
	size_t bytes;

	while (buf_bytes(&f->out) < GATHER_BYTES && (piece = next_piece(f, &bytes)) != NULL)
		buf_append(&f->out, piece, bytes);
}

/* Until there is nothing more, or the kernel takes no more: what is left then stands in `out`. */
static void send_request(struct fetch *f)
{
	if (!f->begun)
		gather(f);
	while (!f->broken) {
		bool is_rest = buf_bytes(&f->out) > 0;
		size_t bytes = buf_bytes(&f->out);
		const uint8_t *at = is_rest ? buf_first(&f->out) : next_piece(f, &bytes);
		if (at == NULL)
			return;
		ssize_t sent = wire_write(f->wire, at, bytes);
		f->broken = sent < 0;
		if (sent < 0)
			return;
		f->begun = f->begun || sent > 0;
		if (is_rest)
			buf_consume(&f->out, (size_t)sent);
		else
			buf_append(&f->out, at + sent, bytes - (size_t)sent);
		if ((size_t)sent < bytes)
			return;
	}
}

/* --- the answer --- */

static void take_held(struct fetch *f)
{
	size_t used;

	f->state = answer_take(f->answer, buf_first(&f->in), buf_bytes(&f->in), &used);
	buf_consume(&f->in, used);
}

static void take(struct fetch *f, size_t bytes)
{
	const uint8_t *data = f->origin->in;
	size_t used;

	f->state = answer_take(f->answer, data, bytes, &used);
	buf_append(&f->in, data + used, bytes - used);
}

/* Until there is nothing more, or the owner takes no more. */
static void read_answer(struct fetch *f)
{
	while (f->state == ANSWER_GOING) {
		ssize_t got = wire_read(f->wire, f->origin->in, PIECE_BYTES);
		if (got == WIRE_WAIT)
			return;
		if (got > 0)
			take(f, (size_t)got);
		else
			f->state = got == WIRE_END ? answer_end(f->answer) : ANSWER_CUT;
	}
}

/* --- both --- */

static void release_body(struct fetch *f)
{
	f->body = BODY_GOING;
	leave(f);
}

/* Has the app said that the body shall come? */
static bool wants_body(const struct fetch *f)
{
	int status = answer_status(f->answer);

	return answer_continues(f->answer) || (status != 0 && status < 400);
}

/* All that can be done now was done. May be the end of *f. */
static void settle(struct fetch *f)
{
	switch (f->state) {
	case ANSWER_COMPLETE:
		finish(f, FAIL_NONE);
		break;
	case ANSWER_CUT:
		fail(f, FAIL_TARGET_UNREACHABLE, "the connection ended before the answer");
		break;
	case ANSWER_BAD:
	case ANSWER_SWITCHED:
		fail(f, FAIL_BAD_RESPONSE, "an impossible answer");
		break;
	case ANSWER_GOING:
	case ANSWER_STALLED:
		if (f->body == BODY_SHORT)
			fail(f, FAIL_BAD_REQUEST, "the request body is too short");
		else
			wire_watch(f->wire, f->state == ANSWER_GOING,
				   !f->broken && buf_bytes(&f->out) > 0);
		break;
	}
}

static void open_wire(struct fetch *f);

static void work(struct fetch *f)
{
	send_request(f);
	if (f->broken && f->kept && !f->begun) { /* nobody has seen anything of it */
		wire_close(&f->wire);
		open_wire(f);
		return;
	}
	read_answer(f);
	if (f->state == ANSWER_GOING && f->body == BODY_HELD && wants_body(f)) {
		release_body(f);
		send_request(f);
	}
	settle(f);
}

/* --- the wire --- */

static void on_patience(uv_timer_t *timer)
{
	struct origin *o = timer->data;
	uint64_t now_ms = uv_now(o->loop);
	struct fetch *f;

	while ((f = TAILQ_FIRST(&o->expecting)) != NULL && f->continue_ms <= now_ms) {
		release_body(f);
		if (f->connected)
			work(f);
	}
	if (f != NULL)
		uv_timer_start(timer, on_patience, f->continue_ms - now_ms, 0);
}

static void expect(struct fetch *f)
{
	struct origin *o = f->origin;

	f->continue_ms = uv_now(o->loop) + CONTINUE_WAIT_MS;
	join(f, &o->expecting);
	if (!uv_is_active((uv_handle_t *)&o->patience))
		uv_timer_start(&o->patience, on_patience, CONTINUE_WAIT_MS, 0);
}

static void on_connected(void *ctx)
{
	struct fetch *f = ctx;

	f->connected = true;
	if (f->body == BODY_HELD && f->list == NULL)
		expect(f);
	work(f);
}

static void on_failed(void *ctx)
{
	finish(ctx, FAIL_TARGET_UNREACHABLE);
}

static void on_ready(void *ctx)
{
	work(ctx);
}

static const struct wire_events wire_events = {on_connected, on_failed, on_ready};

static void open_wire(struct fetch *f)
{
	f->connected = f->kept = f->broken = false;
	f->wire = wire_open(f->origin->wires, &wire_events, f);
}

static void begin(struct fetch *f)
{
	f->wire = pool_take(f->origin->pool);
	if (f->wire == NULL) {
		open_wire(f);
		return;
	}
	f->kept = true;
	wire_hand_over(f->wire, &wire_events, f);
	on_connected(f);
}

/* --- fetches --- */

static void on_soon(uv_idle_t *idle)
{
	struct origin *o = idle->data;
	struct fetch *f;

	uv_idle_stop(idle);
	while ((f = TAILQ_FIRST(&o->due)) != NULL) {
		leave(f);
		begin(f);
	}
}

struct fetch *fetch_start(struct origin *o, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events, void *ctx)
{
	struct fetch *f = xcalloc(1, sizeof *f);
	struct request *r = &f->request;

	f->origin = o;
	f->events = events;
	f->ctx = ctx;
	if (!request_write(&f->out, r, o->settings, head, head_bytes, body == FETCH_BODY)) {
		fetch_free(f);
		return NULL;
	}
	f->body = !r->has_body ? BODY_OVER : r->expects ? BODY_HELD : BODY_GOING;
	f->answer = answer_new(o->settings);
	answer_begin(f->answer, r->is_head ? ANSWER_TO_HEAD : ANSWER_TO_REQUEST,
		     &(struct answer_events){events->head, events->data}, ctx);
	join(f, &o->due);
	uv_idle_start(&o->soon, on_soon);
	return f;
}

void fetch_resume(struct fetch *f, bool body, bool data)
{
	f->body_waits = f->body_waits && !body;
	if (data && f->state == ANSWER_STALLED)
		take_held(f);
	if (f->connected)
		work(f);
}

void fetch_cancel(struct fetch **fp)
{
	struct fetch *f = *fp;

	*fp = NULL;
	if (f != NULL)
		fetch_free(f);
}

/* --- start and end --- */

struct origin *origin_new(uv_loop_t *loop, const struct settings *settings)
{
	struct origin *o = xcalloc(1, sizeof *o);

	o->loop = loop;
	o->settings = settings;
	o->wires = wires_new(loop, settings);
	o->pool = pool_new(loop);
	TAILQ_INIT(&o->due);
	TAILQ_INIT(&o->expecting);
	CHECK(uv_idle_init(loop, &o->soon) == 0 && uv_timer_init(loop, &o->patience) == 0);
	o->soon.data = o->patience.data = o;
	return o;
}

static void handle_closed(uv_handle_t *handle)
{
	struct origin *o = handle->data;

	if (--o->open_handles == 0)
		free(o);
}

void origin_destroy(struct origin **op)
{
	struct origin *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	pool_destroy(&o->pool);
	wires_destroy(&o->wires);
	o->open_handles = 2;
	uv_close((uv_handle_t *)&o->soon, handle_closed);
	uv_close((uv_handle_t *)&o->patience, handle_closed);
}

const struct settings *origin_settings(const struct origin *o)
{
	return o->settings;
}

struct wires *origin_wires(struct origin *o)
{
	return o->wires;
}
