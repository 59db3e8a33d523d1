/* fcgi/relay.c - see relay.h.
 *
 * Lock-step with the broker: each turn sends at most one piece of the request body and receives
 * what is ready of the response. A caller that sends slowly must not delay an early response, so
 * the wait for its next piece is cut into slices with an empty step between them; once the body is
 * complete, the broker holds the step until there is a response. Every turn ends in bounded time.
 *
 * The response is written to the connection's buffer; relay_go_on() sends it before the next
 * message to the broker, so that a slow caller slows the app down. */
#include "fcgi/relay.h"

#include "common/access_log.h"
#include "common/local_reply.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/rewrite.h"
#include "fcgi/request.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	HOLD_MS = 2000,	     /* bounds how long a closed web-server connection goes unnoticed */
	DUPLEX_HOLD_MS = 50, /* while both bodies are in transfer */
	SLICE_MS = 50,	     /* the first wait for a slow caller; doubles up to */
	SLICE_MAX_MS = 500,
	GATHER_MS = 100, /* for a body that fits into the first message */
	/* After a piece of BULK_BYTES or more, the next one waits until there are
	 * BULK_GATHER_BYTES, but no longer than BULK_GATHER_MS: a message costs the broker and
	 * this program a wake-up each. */
	BULK_BYTES = 16 * 1024,
	BULK_GATHER_BYTES = 128 * 1024,
	BULK_GATHER_MS = 2,
};

struct relay {
	struct cgi *cgi;
	struct quota *quota;
	int64_t max_body_bytes;
	struct request q;
	struct response response;
	struct gate_msg message; /* the next message to the broker */
	uint8_t *piece;		 /* GATE_PIECE_BYTES; NULL without a request body */
	int64_t up_bytes;	 /* read from the caller */
	uint32_t credit_bytes;	 /* bytes that the broker accepts beyond `up_bytes` */
	int slice_ms;
	bool sent_bulk;		 /* the last piece was a large one: the next is gathered */
	bool holds_quota;	 /* has a slot of its connection id's quota */
	bool up_done;		 /* the last piece was sent */
	bool head_sent;		 /* no response of our own any more */
	enum fail cancel_reason; /* of a CANCEL in progress; FAIL_NONE: none */
	bool over;		 /* ended at the broker: nothing more will be written */
	bool is_incomplete;	 /* the response */
	enum cgi_end end;

	/* For the log. */
	_Atomic bool is_read; /* `q` is read, and will not change */
	bool logged;
	bool maybe_delivered;
	int status;	/* sent to the caller; 0: none */
	enum fail fail; /* why the request failed; FAIL_NONE: it did not */
	int64_t arrived_ms, started_ms, head_ms;
};

/* --- the log --- */

static void log_message(const struct relay *x, const char *event, const struct gate_msg *m)
{
	log_debug("%s conn=%s corr=%s kind=%s flags=0x%02x code=%s head_bytes=%zu body_bytes=%zu",
		  event, x->q.id, x->q.corr_hex, gate_msg_kind_name(m->kind), m->flags,
		  fail_code((enum fail)m->fail), m->head_bytes, m->body_bytes);
}

/* Health checks are not logged: monitoring sends one every few seconds. */
static void log_end(struct relay *x, bool refused)
{
	int64_t now_ms = clock_now_ms();

	if (x->logged || x->q.kind == REQUEST_HEALTHZ || x->q.log_line == NULL)
		return;
	x->logged = true;
	if (refused && x->fail == FAIL_NONE)
		x->fail = FAIL_CANCELLED;
	else if (x->is_incomplete && x->fail == FAIL_NONE)
		x->fail = FAIL_BAD_RESPONSE;
	const struct access_log_line line = {
		.conn = x->q.id,
		.corr = x->q.corr_hex,
		.request = x->q.log_line,
		.status = x->status,
		.fail = x->fail,
		.delivered = x->maybe_delivered ? "maybe" : "no",
		.up_bytes = x->up_bytes,
		.down_bytes = x->response.passed_bytes,
		.numbers = {{"head_ms", x->head_ms != 0 ? x->head_ms - x->started_ms : -1},
			    {"ms", now_ms - x->started_ms}},
	};
	access_log_put(&line);
}

/* --- ends --- */

static void end_with(struct relay *x, struct buf *response)
{
	cgi_write(x->cgi, buf_first(response), buf_bytes(response));
	cgi_end(x->cgi);
	buf_fini(response);
	x->over = true;
}

/* Ends the exchange after a failure that the broker knows. */
static void end_failed(struct relay *x, enum fail f, bool accepted, bool maybe_delivered)
{
	struct buf out = {0};

	x->fail = f;
	x->maybe_delivered = maybe_delivered;
	if (x->head_sent) {
		x->over = x->is_incomplete = true;
		return;
	}
	x->status = fail_status(f, accepted);
	local_reply_fail(&out, &x->q.to, f, accepted, maybe_delivered);
	end_with(x, &out);
}

/* Starts to cancel the exchange: the broker is told, and its reply ends it. */
static void cancel(struct relay *x, enum fail f)
{
	x->cancel_reason = f;
	x->message = (struct gate_msg){.kind = GATE_CANCEL, .fail = (uint8_t)f};
}

/* --- down --- */

static bool write_head(struct relay *x, const struct gate_msg *reply)
{
	struct buf head = {0};
	bool good = rewrite_response(&x->response, &x->q.public, "Status:", reply->head,
				     reply->head_bytes, &head);

	if (good) {
		buf_append(&head, "\r\n", 2);
		x->head_sent = true;
		x->maybe_delivered = true;
		x->status = x->response.status;
		x->head_ms = clock_now_ms();
		cgi_write(x->cgi, buf_first(&head), buf_bytes(&head));
	} else if (reply->flags & GATE_RESPONSE_END) {
		end_failed(x, FAIL_BAD_RESPONSE, true, true);
	} else {
		cancel(x, FAIL_BAD_RESPONSE);
	}
	buf_fini(&head);
	return good;
}

static void take_piece(struct relay *x, const struct gate_msg *reply)
{
	size_t bytes = rewrite_pass(&x->response, reply->body_bytes);
	bool whole = bytes == reply->body_bytes || x->response.bodiless;

	cgi_write(x->cgi, reply->body, bytes);
	if (reply->flags & GATE_RESPONSE_END) {
		x->over = true;
		x->is_incomplete = !whole || !rewrite_is_whole(&x->response);
		if (!x->is_incomplete)
			cgi_end(x->cgi);
	} else if (!whole) {
		cancel(x, FAIL_BAD_RESPONSE);
	}
}

static void take_reply(struct relay *x, const struct gate_msg *reply)
{
	x->credit_bytes = reply->number;
	if (x->cancel_reason != FAIL_NONE)
		end_failed(x, x->cancel_reason, true,
			   !(reply->flags & GATE_FAILED) || (reply->flags & GATE_MAYBE_DELIVERED));
	else if (reply->flags & GATE_FAILED)
		end_failed(x, (enum fail)reply->fail, reply->flags & GATE_ACCEPTED,
			   reply->flags & GATE_MAYBE_DELIVERED);
	else if (!x->head_sent && (reply->flags & GATE_HAS_HEAD) && !write_head(x, reply))
		return;
	else if (x->head_sent)
		take_piece(x, reply);
}

static void take_health(struct relay *x, bool good)
{
	struct buf out = {0};

	local_reply_health(&out, &x->q.to, good);
	end_with(x, &out);
}

/* --- up --- */

static bool is_too_large(const struct relay *x)
{
	return x->max_body_bytes > 0 && x->up_bytes > x->max_body_bytes;
}

static ssize_t read_piece(struct relay *x, size_t used, size_t most, int wait_ms)
{
	ssize_t got = cgi_read(x->cgi, x->piece + used, most - used, wait_ms);

	if (got > 0)
		x->up_bytes += got;
	return got;
}

/* Sends OPEN with the part of the body that has arrived; a small body whole, so that it costs one
 * message. Returns false if the body is cut or too large; nothing was sent then. */
static bool gather_first_piece(struct relay *x, bool may_block)
{
	struct gate_msg *m = &x->message;
	bool small = x->q.has_length && x->q.length_bytes <= GATE_PIECE_BYTES;
	int64_t until_ms = clock_now_ms() + (small && may_block ? GATHER_MS : 0);
	ssize_t got = 1;

	if (x->q.has_length && x->q.length_bytes == 0)
		x->up_done = true;
	else
		x->piece = xmalloc(GATE_PIECE_BYTES);
	while (!x->up_done && got > 0 && m->body_bytes < GATE_PIECE_BYTES) {
		int64_t left_ms = until_ms - clock_now_ms();
		got = read_piece(x, m->body_bytes, GATE_PIECE_BYTES,
				 left_ms > 0 ? (int)left_ms : 0);
		if (got > 0)
			m->body_bytes += (size_t)got;
		bool all = small && x->up_bytes == x->q.length_bytes;
		x->up_done = got == CGI_END || all;
	}
	m->body = x->piece;
	if (got != CGI_BROKEN && !is_too_large(x))
		return true;
	end_failed(x, got == CGI_BROKEN ? FAIL_BAD_REQUEST : FAIL_BODY_TOO_LARGE, false, false);
	return false;
}

/* How long the responder has had the request. */
static uint32_t waited_ms(const struct relay *x)
{
	int64_t since_ms = x->arrived_ms != 0 ? x->arrived_ms : x->started_ms;
	int64_t ms = clock_now_ms() - since_ms;

	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static void open_exchange(struct relay *x, bool may_block)
{
	struct gate_msg *m = &x->message;

	if (!gather_first_piece(x, may_block))
		return;
	m->kind = GATE_OPEN;
	m->id = x->q.id;
	m->id_bytes = strlen(x->q.id);
	m->head = x->q.head.data;
	m->head_bytes = x->q.head.bytes;
	m->number = HOLD_MS;
	m->web_ms = waited_ms(x);
	if (x->q.has_length) {
		m->flags |= GATE_HAS_LENGTH;
		m->body_total_bytes = (uint64_t)x->q.length_bytes;
	}
	if (x->up_done)
		m->flags |= GATE_BODY_END;
}

/* How long to wait for more of a piece of which `used` bytes have been here since `since_ms`. */
static int gather_ms(const struct relay *x, size_t used, int64_t since_ms)
{
	int64_t left_ms = since_ms + BULK_GATHER_MS - clock_now_ms();

	return x->sent_bulk && used < BULK_GATHER_BYTES && left_ms > 0 ? (int)left_ms : 0;
}

/* Reads what has arrived, at most `most` bytes: a record of the web server holds about 8 KiB. Sets
 * *end if that was the last piece. */
static ssize_t read_available(struct relay *x, size_t most, int wait_ms, bool *end)
{
	size_t used = 0;
	ssize_t got = 1;
	int64_t since_ms = 0;

	while (got > 0 && used < most) {
		got = read_piece(x, used, most, used > 0 ? gather_ms(x, used, since_ms) : wait_ms);
		if (used == 0)
			since_ms = clock_now_ms();
		used += got > 0 ? (size_t)got : 0;
	}
	*end = got == CGI_END || (x->q.has_length && x->up_bytes == x->q.length_bytes);
	if (got == CGI_BROKEN)
		return CGI_BROKEN;
	return used > 0 ? (ssize_t)used : got;
}

/* Sends the next piece of the body, or an empty step if the caller is slow. */
static void next_piece(struct relay *x)
{
	struct gate_msg *m = &x->message;
	size_t most = x->credit_bytes < GATE_PIECE_BYTES ? x->credit_bytes : GATE_PIECE_BYTES;
	ssize_t got = read_available(x, most, x->head_sent ? 0 : x->slice_ms, &x->up_done);

	if (got == CGI_BROKEN || is_too_large(x)) {
		cancel(x, got == CGI_BROKEN ? FAIL_BAD_REQUEST : FAIL_BODY_TOO_LARGE);
	} else if (got == CGI_NOTHING) {
		m->number = x->head_sent ? DUPLEX_HOLD_MS : 0;
		if (x->slice_ms < SLICE_MAX_MS)
			x->slice_ms *= 2;
	} else {
		x->slice_ms = SLICE_MS;
		m->body = x->piece;
		m->body_bytes = got > 0 ? (size_t)got : 0;
		x->sent_bulk = m->body_bytes >= BULK_BYTES;
		if (x->up_done)
			m->flags |= GATE_BODY_END;
	}
}

static void make_step(struct relay *x)
{
	x->message = (struct gate_msg){.kind = GATE_STEP, .number = HOLD_MS};
	if (!x->up_done && x->credit_bytes > 0)
		next_piece(x);
}

/* --- turns --- */

/* Closes the connection, or keeps it for the web server's next request. */
static enum relay_state finish(struct relay *x, bool refused)
{
	log_end(x, refused);
	if (!x->is_incomplete && !refused) {
		x->end = cgi_finish(x->cgi);
	} else if (x->head_sent && !refused && cgi_descriptor(x->cgi) >= 0) {
		x->end = CGI_CUT_LATER;
	} else {
		x->end = CGI_CLOSED;
		cgi_cut(x->cgi);
	}
	if (x->holds_quota)
		quota_release(x->quota, x->q.id);
	x->holds_quota = false;
	return RELAY_OVER;
}

/* Sends the buffered output and determines the next state. */
enum relay_state relay_go_on(struct relay *x, bool may_block)
{
	enum cgi_flush sent = cgi_flush(x->cgi, may_block);

	if (sent == CGI_BLOCKED)
		return RELAY_STUCK;
	if (x->over)
		return finish(x, sent == CGI_REFUSED);
	if (x->cancel_reason != FAIL_NONE)
		return RELAY_ASK;
	if (sent == CGI_REFUSED) {
		cancel(x, FAIL_CANCELLED);
		return RELAY_ASK;
	}
	if (!x->up_done && !may_block)
		return RELAY_BODY;
	make_step(x);
	return RELAY_ASK;
}

enum relay_state relay_take(struct relay *x, const struct gate_msg *reply, bool may_block)
{
	bool empty = reply->flags == 0 && reply->body_bytes == 0;

	log_message(x, "gate.in", reply);
	if (x->q.kind == REQUEST_HEALTHZ)
		take_health(x, reply->kind == GATE_PONG);
	else
		take_reply(x, reply);
	/* Once the web server has disconnected, only this relay keeps a silent exchange open. */
	if (empty && !x->over && x->up_done && cgi_is_disconnected(x->cgi))
		cancel(x, FAIL_CANCELLED);
	return relay_go_on(x, may_block);
}

struct gate_msg *relay_message(struct relay *x)
{
	memcpy(x->message.corr, x->q.corr, CORR_BYTES);
	log_message(x, "gate.out", &x->message);
	return &x->message;
}

bool relay_is_uploading(const struct relay *x)
{
	return !x->up_done;
}

enum cgi_end relay_end(const struct relay *x)
{
	return x->end;
}

void relay_end_now(struct relay *x)
{
	if (!x->over)
		end_failed(x, FAIL_SHUTTING_DOWN, true, true);
	enum cgi_flush sent = cgi_flush(x->cgi, false);
	(void)finish(x, sent != CGI_SENT);
}

const struct request *relay_request(const struct relay *x)
{
	return atomic_load_explicit(&x->is_read, memory_order_acquire) ? &x->q : NULL;
}

/* --- the request --- */

static void start_tunnel(struct relay *x, bool may_block)
{
	const struct request *q = &x->q;
	int64_t most = x->max_body_bytes;

	if (most > 0 && q->has_length && q->length_bytes > most) {
		end_failed(x, FAIL_BODY_TOO_LARGE, false, false);
	} else if (!quota_reserve(x->quota, q->id)) {
		end_failed(x, FAIL_QUEUE_FULL, false, false);
	} else {
		x->holds_quota = true;
		open_exchange(x, may_block);
	}
}

enum relay_state relay_start(struct relay *x, bool may_block)
{
	struct buf out = {0};

	if (!cgi_accept(x->cgi)) {
		x->over = x->is_incomplete = true;
		return finish(x, true);
	}
	struct request_parameters parameters = cgi_parameters(x->cgi);
	x->started_ms = clock_now_ms();
	request_read(&x->q, &parameters);
	atomic_store_explicit(&x->is_read, true, memory_order_release);
	switch (x->q.kind) {
	case REQUEST_TUNNEL:
		start_tunnel(x, may_block);
		break;
	case REQUEST_HEALTHZ:
		x->message = (struct gate_msg){.kind = GATE_PING};
		break;
	case REQUEST_REDIRECT:
		local_reply_redirect(&out, &x->q.to, x->q.location);
		x->status = 308;
		end_with(x, &out);
		break;
	case REQUEST_REFUSED:
		end_failed(x, x->q.fail, false, false);
		break;
	}
	return x->over ? relay_go_on(x, may_block) : RELAY_ASK;
}

struct relay *relay_new(struct cgi *cgi, struct quota *quota, int64_t max_body_bytes,
			int64_t arrived_ms)
{
	struct relay *x = xcalloc(1, sizeof *x);

	x->cgi = cgi;
	x->quota = quota;
	x->max_body_bytes = max_body_bytes;
	x->arrived_ms = arrived_ms;
	x->slice_ms = SLICE_MS;
	return x;
}

void relay_destroy(struct relay **xp)
{
	struct relay *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	CHECK(!x->holds_quota);
	request_fini(&x->q);
	free(x->piece);
	free(x);
}
