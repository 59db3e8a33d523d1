/* fcgi/serve.c - see serve.h.
 *
 * Lock-step with the broker: each turn sends at most one piece of the request body up and takes what
 * there is of the response. A caller that sends slowly must not delay an early answer, so the wait for
 * its next piece is cut into slices with an empty step between them; a caller that is done waits in the
 * broker's hold. Whatever happens, a turn ends in bounded time. */
#include "fcgi/serve.h"

#include "common/answer.h"
#include "common/response.h"
#include "fcgi/request.h"

#include <stdlib.h>
#include <string.h>

enum {
	HOLD_MS = 10000,     /* PROTOCOL.md: the longest that the broker takes */
	DUPLEX_HOLD_MS = 50, /* while both bodies are under way */
	SLICE_MS = 50,	     /* the first wait for a slow caller; doubles up to */
	SLICE_MAX_MS = 500,
	GATHER_MS = 100, /* for a body that fits into the first message */
};

struct exchange {
	struct cgi *cgi;
	struct ask *ask;
	const struct request *q;
	int64_t max_body_bytes;
	struct response response;
	uint8_t *piece;	       /* GATE_PIECE_BYTES; NULL without a request body */
	int64_t up_bytes;      /* read from the caller */
	int64_t down_bytes;    /* written to the caller */
	uint32_t credit_bytes; /* the broker takes so much more */
	int slice_ms;
	bool up_done; /* the last piece has gone */
	bool headed;  /* the response head is out: no answer of our own any more */
	bool over;
};

/* --- ends --- */

static void finish_with(struct cgi *cgi, struct buf *answer)
{
	if (cgi_write(cgi, buf_first(answer), buf_bytes(answer)))
		cgi_finish(cgi);
	else
		cgi_cut(cgi);
	buf_fini(answer);
}

/* The exchange has failed and the broker knows it. */
static void end_failed(struct exchange *x, enum fail f, bool accepted, bool maybe_delivered)
{
	struct buf out = {0};

	x->over = true;
	if (x->headed) {
		cgi_cut(x->cgi);
		return;
	}
	answer_fail(&out, &x->q->to, f, accepted, maybe_delivered);
	finish_with(x->cgi, &out);
}

/* We give it up. */
static void cancel(struct exchange *x, enum fail f)
{
	struct gate_msg m = {.kind = GATE_CANCEL, .fail = (uint8_t)f}, reply;

	memcpy(m.corr, x->q->corr, CORR_BYTES);
	ask_call(x->ask, &m, &reply);
	end_failed(x, f, true, true);
}

/* --- down --- */

static bool write_head(struct exchange *x, const struct gate_msg *reply)
{
	struct buf head = {0};
	bool written = false;

	if (!response_write(&x->response, &x->q->public, "Status:", reply->head, reply->head_bytes,
			    &head)) {
		if (reply->flags & GATE_RESPONSE_END)
			end_failed(x, FAIL_BAD_RESPONSE, true, true);
		else
			cancel(x, FAIL_BAD_RESPONSE);
	} else {
		buf_append(&head, "\r\n", 2);
		x->headed = true;
		written = cgi_write(x->cgi, buf_first(&head), buf_bytes(&head));
		if (!written)
			cancel(x, FAIL_CANCELLED);
	}
	buf_fini(&head);
	return written;
}

/* How much of a piece goes out: nothing of a body that must not be there, nothing over the declared
 * length, which would be taken for the start of another response. */
static size_t allowed_bytes(const struct exchange *x, size_t bytes)
{
	const struct response *r = &x->response;

	if (r->bodiless)
		return 0;
	if (r->has_length && (int64_t)bytes > r->length_bytes - x->down_bytes)
		return (size_t)(r->length_bytes - x->down_bytes);
	return bytes;
}

static void take_reply(struct exchange *x, const struct gate_msg *reply)
{
	bool end = reply->flags & GATE_RESPONSE_END;

	x->credit_bytes = reply->number;
	if (reply->flags & GATE_FAILED) {
		end_failed(x, (enum fail)reply->fail, reply->flags & GATE_ACCEPTED,
			   reply->flags & GATE_MAYBE_DELIVERED);
		return;
	}
	if ((reply->flags & GATE_HAS_HEAD) && !x->headed && !write_head(x, reply))
		return;
	if (!x->headed)
		return;
	size_t bytes = allowed_bytes(x, reply->body_bytes);
	bool whole = bytes == reply->body_bytes || x->response.bodiless;
	bool sent = cgi_write(x->cgi, reply->body, bytes) && (end || cgi_flush(x->cgi));
	x->down_bytes += (int64_t)bytes;
	if (end) {
		bool complete = x->response.bodiless || !x->response.has_length ||
				x->down_bytes == x->response.length_bytes;
		x->over = true;
		if (sent && whole && complete)
			cgi_finish(x->cgi);
		else
			cgi_cut(x->cgi);
	} else if (!sent || !whole) {
		cancel(x, sent ? FAIL_BAD_RESPONSE : FAIL_CANCELLED);
	}
}

/* --- up --- */

static bool is_too_large(const struct exchange *x)
{
	return x->max_body_bytes > 0 && x->up_bytes > x->max_body_bytes;
}

static ssize_t read_piece(struct exchange *x, size_t used, size_t most, int wait_ms)
{
	ssize_t got = cgi_read(x->cgi, x->piece + used, most - used, wait_ms);

	if (got > 0)
		x->up_bytes += got;
	return got;
}

/* What there is of the body right now goes with OPEN; a small one whole, so that it costs one message.
 * False: it is cut or too large, and nothing has been sent. */
static bool gather_first_piece(struct exchange *x, struct gate_msg *m)
{
	bool small = x->q->has_length && x->q->length_bytes <= GATE_PIECE_BYTES;
	ssize_t got = 1;

	if (x->q->has_length && x->q->length_bytes == 0)
		x->up_done = true;
	else
		x->piece = xmalloc(GATE_PIECE_BYTES);
	while (!x->up_done && got > 0 && m->body_bytes < GATE_PIECE_BYTES) {
		got = read_piece(x, m->body_bytes, GATE_PIECE_BYTES, small ? GATHER_MS : 0);
		if (got > 0)
			m->body_bytes += (size_t)got;
		bool all = small && x->up_bytes == x->q->length_bytes;
		x->up_done = got == CGI_END || all;
	}
	m->body = x->piece;
	if (got == CGI_BROKEN || is_too_large(x)) {
		end_failed(x, got == CGI_BROKEN ? FAIL_BAD_REQUEST : FAIL_BODY_TOO_LARGE, false,
			   false);
		return false;
	}
	return true;
}

static void open_exchange(struct exchange *x, struct gate_msg *m)
{
	m->kind = GATE_OPEN;
	m->id = x->q->id;
	m->id_bytes = strlen(x->q->id);
	m->head = x->q->head.data;
	m->head_bytes = x->q->head.bytes;
	m->number = HOLD_MS;
	if (x->q->has_length) {
		m->flags |= GATE_HAS_LENGTH;
		m->body_total_bytes = (uint64_t)x->q->length_bytes;
	}
	if (x->up_done)
		m->flags |= GATE_BODY_END;
}

/* All that is there, `most` at most: a record of the web server holds 8 KiB or so. *end: the last of it. */
static ssize_t read_available(struct exchange *x, size_t most, int wait_ms, bool *end)
{
	size_t used = 0;
	ssize_t got = 1;

	while (got > 0 && used < most) {
		got = read_piece(x, used, most, used > 0 ? 0 : wait_ms);
		used += got > 0 ? (size_t)got : 0;
	}
	*end = got == CGI_END || (x->q->has_length && x->up_bytes == x->q->length_bytes);
	if (got == CGI_BROKEN)
		return CGI_BROKEN;
	return used > 0 ? (ssize_t)used : got;
}

/* The next piece of the body into `m`, or an empty step if the caller is slow. False: given up. */
static bool next_piece(struct exchange *x, struct gate_msg *m)
{
	size_t most = x->credit_bytes < GATE_PIECE_BYTES ? x->credit_bytes : GATE_PIECE_BYTES;
	ssize_t got = read_available(x, most, x->headed ? 0 : x->slice_ms, &x->up_done);

	if (got == CGI_BROKEN || is_too_large(x)) {
		cancel(x, got == CGI_BROKEN ? FAIL_BAD_REQUEST : FAIL_BODY_TOO_LARGE);
		return false;
	}
	if (got == CGI_NOTHING) {
		m->number = x->headed ? DUPLEX_HOLD_MS : 0;
		if (x->slice_ms < SLICE_MAX_MS)
			x->slice_ms *= 2;
		return true;
	}
	x->slice_ms = SLICE_MS;
	m->number = HOLD_MS;
	m->body = x->piece;
	m->body_bytes = got > 0 ? (size_t)got : 0;
	if (x->up_done)
		m->flags |= GATE_BODY_END;
	return true;
}

static bool make_step(struct exchange *x, struct gate_msg *m)
{
	m->kind = GATE_STEP;
	if (!x->up_done && x->credit_bytes > 0)
		return next_piece(x, m);
	m->number = HOLD_MS;
	return true;
}

static void run(struct exchange *x)
{
	struct gate_msg first = {0};

	if (!gather_first_piece(x, &first))
		return;
	open_exchange(x, &first);
	for (struct gate_msg m = first; !x->over;) {
		struct gate_msg reply;
		memcpy(m.corr, x->q->corr, CORR_BYTES);
		ask_call(x->ask, &m, &reply);
		take_reply(x, &reply);
		m = (struct gate_msg){0};
		if (!x->over && !make_step(x, &m))
			break;
	}
}

/* --- the request --- */

static void serve_tunnel(struct cgi *cgi, struct ask *ask, struct share *share,
			 const struct request *q, int64_t max_body_bytes)
{
	struct exchange x = {
		.cgi = cgi,
		.ask = ask,
		.q = q,
		.max_body_bytes = max_body_bytes,
		.slice_ms = SLICE_MS,
	};

	if (max_body_bytes > 0 && q->has_length && q->length_bytes > max_body_bytes) {
		end_failed(&x, FAIL_BODY_TOO_LARGE, false, false);
	} else if (!share_take(share, q->id)) {
		end_failed(&x, FAIL_QUEUE_FULL, false, false);
	} else {
		run(&x);
		share_give(share, q->id);
		free(x.piece);
	}
}

static bool broker_answers(struct ask *ask)
{
	struct gate_msg m = {.kind = GATE_PING}, reply;

	ask_call(ask, &m, &reply);
	return reply.kind == GATE_PONG;
}

void serve(struct cgi *cgi, struct ask *ask, struct share *share, int64_t max_body_bytes)
{
	struct request_parameters parameters = cgi_parameters(cgi);
	struct request q;
	struct buf out = {0};

	request_read(&q, &parameters);
	switch (q.kind) {
	case REQUEST_TUNNEL:
		serve_tunnel(cgi, ask, share, &q, max_body_bytes);
		break;
	case REQUEST_HEALTHZ:
		answer_health(&out, &q.to, broker_answers(ask));
		finish_with(cgi, &out);
		break;
	case REQUEST_REDIRECT:
		answer_redirect(&out, &q.to, q.location);
		finish_with(cgi, &out);
		break;
	case REQUEST_REFUSED:
		answer_fail(&out, &q.to, q.fail, false, false);
		finish_with(cgi, &out);
		break;
	}
	request_fini(&q);
}
