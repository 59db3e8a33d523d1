/* client/v1.c - A tunnel of protocol v1 (common/PROTOCOL.md, "Tunnel v1"), client's side: the
 * original's JSON messages with whole bodies in base64 (v1_message.c). */
#include "client/v1.h"

#include "client/request_log.h"
#include "client/session.h"
#include "common/http.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	MESSAGE_MAX_BYTES = 16 * 1024 * 1024, /* in both directions */
	/* With this limit, its base64 and a head fit into a message. */
	RESPONSE_BODY_MAX_BYTES = MESSAGE_MAX_BYTES / 4 * 3 - 256 * 1024,
	/* Limit on the bodies of all calls; beyond it, the apps' responses are not read. */
	HELD_MAX_BYTES = 64 * 1024 * 1024,
	FRAGMENT_BYTES = 64 * 1024,
	CALLS_MAX = 1000,	  /* calls that run or whose response is being sent */
	REFUSALS_MAX = CALLS_MAX, /* further calls, which only get an error */
};

/* One request at the app. */
struct call {
	TAILQ_ENTRY(call) link; /* v1->running, then v1->done */
	struct v1 *v1;
	struct fetch *fetch; /* NULL: it has ended */
	struct v1_request request;
	struct request_log log;
	size_t body_sent_bytes;
	struct head head;
	struct buf body;
	/* The response cannot be sent (or memory is exhausted): resume_calls() ends the call. */
	bool too_large;
	bool paused; /* reading the response is paused */
	enum fail fail;
};

TAILQ_HEAD(call_list, call);

struct v1 {
	const char *connection_id; /* for the log; NULL: unknown */
	struct fetch_engine *engine;
	struct call_list running, done;
	size_t call_count, paused_count, too_large_count;
	size_t held_bytes; /* bodies of requests and responses of all calls */
	struct buf out;	   /* the message being sent */
	bool out_begun;
};

/* --- calls; events of the fetch only mark --- */

static void drop_body(struct call *c)
{
	c->v1->held_bytes -= buf_bytes(&c->body);
	buf_fini(&c->body);
}

/* Marks a response that cannot be sent. Events must not cancel their fetch: resume_calls() does
 * it. */
static void refuse_response(struct call *c)
{
	drop_body(c);
	if (!c->too_large)
		c->v1->too_large_count++;
	c->too_large = true;
}

/* Returns true if more of this response may be read. While no whole response waits to be sent, one
 * call may always continue: its end frees memory. */
static bool may_read_more(const struct call *c)
{
	const struct v1 *v = c->v1;

	return v->held_bytes <= HELD_MAX_BYTES ||
	       (c == TAILQ_FIRST(&v->running) && TAILQ_EMPTY(&v->done) && buf_bytes(&v->out) == 0);
}

static void set_paused(struct call *c, bool paused)
{
	if (c->paused != paused)
		c->v1->paused_count += paused ? 1 : (size_t)-1;
	c->paused = paused;
}

static int head_status(const struct call *c)
{
	struct head_field f;
	long long status;

	if (!head_find(c->head.data, c->head.bytes, ":status", &f) ||
	    !http_length_parse(f.value, f.value_bytes, &status))
		return 0;
	return (int)status;
}

static bool has_body(const struct call *c)
{
	struct head_field method;
	int status = head_status(c);
	bool is_head = head_find(c->request.head.data, c->request.head.bytes, ":method", &method) &&
		       method.value_bytes == 4 && memcmp(method.value, "HEAD", 4) == 0;

	return !is_head && status != 204 && status != 304;
}

static void on_connected(void *ctx)
{
	struct call *c = ctx;

	request_log_connected(&c->log);
}

static void on_head(void *ctx, const struct head *h)
{
	struct call *c = ctx;
	struct head_field f;
	long long length;

	head_append(&c->head, h);
	request_log_head(&c->log, h);
	if (has_body(c) && head_find(h->data, h->bytes, "content-length", &f) &&
	    http_length_parse(f.value, f.value_bytes, &length) && length > RESPONSE_BODY_MAX_BYTES)
		refuse_response(c);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct call *c = ctx;

	if (c->too_large || buf_bytes(&c->body) + bytes > RESPONSE_BODY_MAX_BYTES ||
	    !buf_try_append(&c->body, data, bytes)) {
		refuse_response(c);
		return false;
	}
	c->v1->held_bytes += bytes;
	c->log.down_bytes += (int64_t)bytes;
	set_paused(c, !may_read_more(c));
	return !c->paused;
}

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	struct call *c = ctx;
	size_t left = c->request.body_bytes - c->body_sent_bytes;

	if (left == 0)
		return FETCH_END;
	if (bytes > left)
		bytes = left;
	memcpy(out, c->request.body + c->body_sent_bytes, bytes);
	c->body_sent_bytes += bytes;
	c->log.up_bytes += (int64_t)bytes;
	return (ssize_t)bytes;
}

static void drop_request_body(struct call *c)
{
	c->v1->held_bytes -= c->request.body_bytes;
	free(c->request.body);
	c->request.body = NULL;
	c->request.body_bytes = c->body_sent_bytes = 0;
}

static void on_end(void *ctx, enum fail f, bool maybe_delivered)
{
	struct call *c = ctx;

	(void)maybe_delivered; /* v1 cannot express it */
	c->fetch = NULL;
	c->fail = f;
	c->v1->too_large_count -= c->too_large;
	set_paused(c, false);
	drop_request_body(c);
	TAILQ_REMOVE(&c->v1->running, c, link);
	TAILQ_INSERT_TAIL(&c->v1->done, c, link);
}

static const struct fetch_events events = {on_connected, on_head, on_data, on_body, on_end};

/* `why` is logged for a call that has not failed by itself. */
static void call_free(struct call *c, struct call_list *list, enum fail why)
{
	request_log_end(&c->log,
			c->too_large	       ? FAIL_BAD_RESPONSE
			: c->fail != FAIL_NONE ? c->fail
					       : why,
			c->log.connected_ms != 0);
	fetch_cancel(&c->fetch);
	TAILQ_REMOVE(list, c, link);
	c->v1->call_count--;
	c->v1->too_large_count -= c->too_large && list == &c->v1->running;
	set_paused(c, false);
	drop_request_body(c);
	drop_body(c);
	v1_request_fini(&c->request);
	head_fini(&c->head);
	free(c);
}

/* A server sends no other method through a tunnel of v1; the caller gets what the broker would say
 * (contract: unsupported-by-client). */
static bool has_unknown_method(const struct v1_request *r)
{
	struct head_field f;

	return head_find(r->head.data, r->head.bytes, ":method", &f) &&
	       http_token_valid(f.value, f.value_bytes) &&
	       !http_method_of_v1(f.value, f.value_bytes);
}

/* Every request that names itself gets a response, even a request that we refuse. */
static void receive(void *session, const uint8_t *data, size_t bytes)
{
	struct v1 *v = session;
	struct call *c = xcalloc(1, sizeof *c);
	enum fail refusal = FAIL_NONE;

	if (!v1_request_read(&c->request, data, bytes))
		refusal = FAIL_BAD_REQUEST;
	else if (has_unknown_method(&c->request))
		refusal = FAIL_UNSUPPORTED;
	else if (v->call_count >= CALLS_MAX ||
		 (c->request.body_bytes > 0 &&
		  v->held_bytes + c->request.body_bytes > HELD_MAX_BYTES))
		refusal = FAIL_OVERLOADED;
	if (c->request.correlation_id == NULL || v->call_count >= CALLS_MAX + REFUSALS_MAX) {
		log_limited_warn("", "message.ignored running=%zu bytes=%zu", v->call_count, bytes);
		v1_request_fini(&c->request);
		free(c);
		return;
	}
	request_log_begin(&c->log, v->connection_id, c->request.head.data, c->request.head.bytes,
			  c->request.correlation_id);
	c->v1 = v;
	v->call_count++;
	v->held_bytes += c->request.body_bytes;
	TAILQ_INSERT_TAIL(&v->running, c, link);
	if (refusal == FAIL_NONE) {
		c->fetch = fetch_start(v->engine, c->request.head.data, c->request.head.bytes,
				       c->request.body_bytes > 0 ? FETCH_BODY : FETCH_NO_BODY,
				       &events, c, &refusal);
	}
	if (refusal == FAIL_BAD_REQUEST || refusal == FAIL_BAD_PATH)
		log_limited_warn("", "request.refused corr=%s why=\"the request is invalid\"",
				 c->log.corr);
	if (refusal != FAIL_NONE)
		on_end(c, refusal, false);
}

/* --- the response --- */

static int response_status(const struct call *c)
{
	int status = head_status(c);

	if (c->fail == FAIL_BAD_REQUEST || c->fail == FAIL_BAD_PATH || c->fail == FAIL_OVERLOADED ||
	    c->fail == FAIL_UNSUPPORTED)
		return fail_status(c->fail, false);
	return c->fail != FAIL_NONE || status == 0 ? 504 : status;
}

static void put_response(struct buf *out, const struct call *c)
{
	static const struct head none;
	struct v1_response r = {
		.correlation_id = c->request.correlation_id,
		.status = response_status(c),
		.head = &none,
	};

	if (c->fail == FAIL_NONE) {
		r.head = &c->head;
		r.body = buf_first(&c->body);
		r.body_bytes = buf_bytes(&c->body);
	}
	v1_response_write(out, &r);
}

static void put_too_large(struct buf *out, const struct call *c)
{
	static const char detail[] =
		"{\"detail\":\"The response is larger than a tunnel of protocol v1 carries.\"}";
	struct head head = {0};
	struct v1_response r = {
		.correlation_id = c->request.correlation_id,
		.status = fail_status(FAIL_BAD_RESPONSE, false),
		.head = &head,
		.body = detail,
		.body_bytes = sizeof detail - 1,
	};

	head_add(&head, "content-type", "application/json");
	v1_response_write(out, &r);
	head_fini(&head);
}

static size_t pull(void *session, uint8_t *out, bool *first, bool *final)
{
	struct v1 *v = session;
	struct call *c = TAILQ_FIRST(&v->done);

	if (buf_bytes(&v->out) == 0) {
		if (c == NULL)
			return 0;
		if (c->too_large)
			put_too_large(&v->out, c);
		else
			put_response(&v->out, c);
		v->out_begun = false;
		c->log.status =
			c->too_large ? fail_status(FAIL_BAD_RESPONSE, false) : response_status(c);
		call_free(c, &v->done, FAIL_NONE);
	}
	size_t bytes = buf_bytes(&v->out);
	if (bytes > FRAGMENT_BYTES)
		bytes = FRAGMENT_BYTES;
	memcpy(out, buf_first(&v->out), bytes);
	buf_consume(&v->out, bytes);
	*first = !v->out_begun;
	*final = buf_bytes(&v->out) == 0;
	v->out_begun = true;
	return bytes;
}

/* --- start and end --- */

static void *open_session(struct fetch_engine *engine, const struct session_socket *socket)
{
	struct v1 *v = xcalloc(1, sizeof *v);

	/* Not used: socket->close. No message of the server is a reason to close the tunnel. */
	v->connection_id = socket->connection_id;
	v->engine = engine;
	TAILQ_INIT(&v->running);
	TAILQ_INIT(&v->done);
	return v;
}

/* Ends calls whose response is too large, and continues paused ones. Events of a fetch affect no
 * other call. */
static void resume_calls(void *session)
{
	struct v1 *v = session;
	struct call *c, *next;

	if (v->too_large_count + v->paused_count == 0)
		return;
	for (c = TAILQ_FIRST(&v->running); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->too_large) {
			fetch_cancel(&c->fetch);
			on_end(c, FAIL_BAD_RESPONSE, true);
		} else if (c->paused && may_read_more(c)) {
			set_paused(c, false);
			fetch_resume(c->fetch, false, true);
		}
	}
}

static bool must_resume(void *session)
{
	struct v1 *v = session;
	struct call *first = TAILQ_FIRST(&v->running);

	return v->too_large_count > 0 ||
	       (v->paused_count > 0 &&
		(v->held_bytes <= HELD_MAX_BYTES || (first->paused && may_read_more(first))));
}

static void drain(void *session)
{
	(void)session; /* v1 has no message for it */
}

static bool expects_more(void *session)
{
	(void)session; /* a v1 server never announces its stop */
	return false;
}

static bool is_idle(void *session)
{
	struct v1 *v = session;

	return v->call_count == 0 && buf_bytes(&v->out) == 0;
}

static void free_session(void *session)
{
	struct v1 *v = session;

	while (!TAILQ_EMPTY(&v->running))
		call_free(TAILQ_FIRST(&v->running), &v->running, FAIL_TUNNEL_LOST);
	while (!TAILQ_EMPTY(&v->done))
		call_free(TAILQ_FIRST(&v->done), &v->done, FAIL_TUNNEL_LOST);
	buf_fini(&v->out);
	free(v);
}

static size_t dump_calls(const struct call_list *list, size_t shown)
{
	const struct call *c;

	TAILQ_FOREACH (c, list, link) {
		if (shown == REQUEST_LOG_DUMP_MAX)
			break;
		request_log_dump(&c->log, 0, c->request.body_bytes + buf_bytes(&c->body));
		shown++;
	}
	return shown;
}

static void dump(void *session)
{
	const struct v1 *v = session;
	size_t shown = dump_calls(&v->done, dump_calls(&v->running, 0));

	log_info("dump.end requests=%zu requests_left_out=%zu", v->call_count,
		 v->call_count - shown);
}

const struct session_kind session_v1 = {
	.name = "v1",
	.max_message_bytes = MESSAGE_MAX_BYTES,
	.text = true,
	.open = open_session,
	.receive = receive,
	.pull = pull,
	.resume = resume_calls,
	.must_resume = must_resume,
	.drain = drain,
	.is_idle = is_idle,
	.dump = dump,
	.expects_more = expects_more,
	.free = free_session,
};
