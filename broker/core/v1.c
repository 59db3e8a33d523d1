/* broker/core/v1.c - The protocol of tunnel protocol v1 (common/PROTOCOL.md, "Tunnel v1"),
 * broker's side: the original's JSON messages with whole bodies in base64. v1_request.c writes
 * them, v1_response.c reads them.
 *
 * The core hands out streams; v1 buffers a request until it is complete, and reports the
 * response in one. */
#include "broker/core/core.h"
#include "broker/core/v1_request.h"
#include "broker/core/v1_response.h"
#include "common/b64.h"
#include "common/head.h"
#include "common/id.h"
#include "common/log.h"

#include <string.h>

enum {
	FRAGMENT_BYTES = 64 * 1024,
	CREDIT_BYTES = 256 * 1024, /* limit on the credit of one reply */
};

static void start(struct tunnel *t)
{
	tunnel_opened(t); /* v1 has no greeting */
}

static enum fail refuses(const struct tunnel *t, const struct exchange *x)
{
	(void)t;
	return x->v1.refusal;
}

/* --- the way down --- */

/* Upper limit on the body in a message: base64 makes 4 bytes of 3. */
static int64_t body_max_bytes(const struct tunnel *t)
{
	return t->hub->config->v1_message_bytes / 4 * 3;
}

static void more(struct tunnel *t, struct exchange *x)
{
	int64_t most = body_max_bytes(t);

	if ((int64_t)buf_bytes(&x->up) > most || x->body_total_bytes > most)
		exchange_fail(x, FAIL_BODY_TOO_LARGE);
	else if (x->up_end)
		tunnel_ready(t, x);
	/* Incomplete bodies would wait forever for budget that only they hold. */
	else if (budget_is_full(x->home))
		exchange_fail(x, FAIL_OVERLOADED);
}

static int64_t credit(const struct tunnel *t, const struct exchange *x)
{
	/* Allows one byte over the limit, which proves that the body is too large. */
	int64_t left = body_max_bytes(t) + 1 - (int64_t)buf_bytes(&x->up);

	return left < CREDIT_BYTES ? left : CREDIT_BYTES;
}

static bool method_is_head(const struct exchange *x)
{
	struct head_field f;

	return head_find(buf_first(&x->head), buf_bytes(&x->head), ":method", &f) &&
	       f.value_bytes == 4 && memcmp(f.value, "HEAD", 4) == 0;
}

/* The length of the whole message. */
static size_t message_bytes(const struct buf *text, const struct buf *body)
{
	return buf_bytes(text) + (buf_bytes(body) + 2) / 3 * 4 + strlen(V1_REQUEST_TAIL);
}

/* Makes it the current message. The body is not encoded yet: pull() does so piece by piece. */
static enum fail load(struct tunnel *t, struct exchange *x)
{
	const struct v1_request request = {.corr = x->corr,
					   .head = buf_first(&x->head),
					   .head_bytes = buf_bytes(&x->head),
					   .body_bytes = buf_bytes(&x->up),
					   .has_length = x->body_total_bytes == 0};
	enum fail f = v1_request_write(&request, &t->out);

	if (f == FAIL_NONE &&
	    message_bytes(&t->out, &x->up) > (size_t)t->hub->config->v1_message_bytes)
		f = FAIL_BODY_TOO_LARGE;
	if (f != FAIL_NONE) {
		buf_consume(&t->out, buf_bytes(&t->out));
		return f;
	}
	buf_fini(&t->v1.body);
	t->v1.body = x->up;
	x->up = (struct buf){0};
	t->v1.tail_due = true;
	t->v1.begun = false;
	return FAIL_NONE;
}

/* Loads the next ready exchange. False: there is none. */
static bool load_message(struct tunnel *t)
{
	struct exchange *x;

	while ((x = tunnel_next(t)) != NULL) {
		enum fail f = load(t, x);
		turns_remove(&x->turn);
		if (f != FAIL_NONE) {
			exchange_fail(x, f);
			continue;
		}
		exchange_mark_sent(x);
		x->v1.is_head = method_is_head(x);
		buf_fini(&x->head);
		exchange_recount(x);
		exchange_progress(x);
		return true;
	}
	return false;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Writes as many whole base64 groups of the body as fit. */
static size_t pull_body(struct tunnel *t, uint8_t *out, size_t room)
{
	size_t bytes = smaller(buf_bytes(&t->v1.body), room / 4 * 3);

	if (bytes == 0)
		return 0;
	b64_encode_piece(buf_first(&t->v1.body), bytes, (char *)out);
	buf_consume(&t->v1.body, bytes);
	return (bytes + 2) / 3 * 4;
}

static size_t pull(struct tunnel *t, uint8_t *out, bool *first, bool *final)
{
	const size_t tail_bytes = strlen(V1_REQUEST_TAIL);

	if (!t->v1.tail_due && !load_message(t))
		return 0;
	size_t used = smaller(buf_bytes(&t->out), FRAGMENT_BYTES);
	if (used > 0)
		memcpy(out, buf_first(&t->out), used);
	buf_consume(&t->out, used);
	if (buf_bytes(&t->out) == 0)
		used += pull_body(t, out + used, FRAGMENT_BYTES - used);
	if (buf_bytes(&t->out) == 0 && buf_bytes(&t->v1.body) == 0) {
		/* TUNNEL_PULL_BYTES has room for these few bytes more. */
		memcpy(out + used, V1_REQUEST_TAIL, tail_bytes);
		used += tail_bytes;
		t->v1.tail_due = false;
	}
	*first = !t->v1.begun;
	*final = !t->v1.tail_due;
	t->v1.begun = !*final;
	return used;
}

/* --- the way up --- */

static void deliver(struct exchange *x, struct v1_response *r)
{
	bool bodiless = x->v1.is_head || r->status == 204 || r->status == 205 || r->status == 304;
	struct buf head = {0};

	if (r->fault != NULL) {
		exchange_fail(x, r->fail);
	} else if (!v1_response_head(r, bodiless, &head)) {
		exchange_fail(x, FAIL_OVERLOADED);
	} else if (buf_bytes(&head) > FRAME_REQUEST_HEAD_MAX_BYTES) {
		exchange_fail(x, FAIL_BAD_RESPONSE);
	} else if (exchange_on_head(x, buf_first(&head), buf_bytes(&head))) {
		if (!bodiless)
			exchange_on_body(x, &r->body);
		exchange_on_end(x);
	}
	buf_fini(&head);
}

static void ignore_message(const struct tunnel *t, const struct v1_response *r)
{
	char corr_hex[2 * CORR_BYTES + 1] = "-";

	if (r->has_corr)
		id_to_hex(r->corr, CORR_BYTES, corr_hex);
	log_limited_warn(t->id, "tunnel.message_ignored conn=%s tunnel=%llu corr=%s why=\"%s\"",
			 t->id, (unsigned long long)t->number, corr_hex,
			 r->fault ? r->fault : "names no running exchange");
}

static void on_decoded(struct tunnel *t, struct v1_response *r)
{
	struct exchange *x = r->has_corr ? exchange_find(t->hub, r->corr) : NULL;

	t->hub->stats.messages_refused_total += r->fault != NULL;
	if (x != NULL && x->tunnel == t && x->state == EXCHANGE_SENT)
		deliver(x, r);
	else
		ignore_message(t, r);
}

const struct protocol protocol_v1 = {
	.name = "v1",
	.start = start,
	.refuses = refuses,
	.more = more,
	.credit = credit,
	.pull = pull,
	.decode = v1_response_decode,
	.on_decoded = on_decoded,
	.max_message_bytes = BUDGET_MESSAGE_BYTES,
	.text = true,
};
