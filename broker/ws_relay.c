/* broker/ws_relay.c - see ws_relay.h.
 *
 * Towards the caller, the relay repeats: send a STEP to the hub, wait for its reply, write the
 * reply to the caller. Towards the app, it sends each piece that the caller sends in a STEP of
 * its own, up to the credit of the last reply. So it holds at most one reply in one direction
 * and one piece in the other. */
#include "broker/ws_relay.h"

#include "broker/core/deadline.h"
#include "common/wsframe.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	/* How long the hub may hold back a reply while there is nothing to send: the longest time
	 * that PROTOCOL.md permits. */
	HOLD_MS = 10000,
	TICK_MS = 1000,
	/* Once the exchange has ended: how long the caller has to read the rest. */
	FLUSH_MS = 30000,
	/* After that: how long the caller has to close. */
	LINGER_MS = 2000,
	/* Once the caller has ended its direction: how long the app has to end its own. */
	APP_END_MS = 10000,
	READ_BYTES = 64 * 1024,
};

struct ws_relay {
	struct requester requester; /* of one exchange */
	TAILQ_ENTRY(ws_relay) link; /* ws_relays->all */
	TAILQ_ENTRY(ws_relay) dirty_link;
	bool dirty; /* ws_relays_settle() must look at it */
	struct ws_relays *owner;
	uv_poll_t poll;
	int events; /* that the poll waits for */
	int fd;
	struct ws_request *request;
	struct buf out;	  /* for the caller */
	struct buf early; /* arrived with the handshake, before the hub gave credit */
	int64_t credit_bytes;
	uint64_t boot;
	bool awaiting_reply;
	bool caller_ended; /* the caller has closed its direction */
	bool head_sent;	   /* the response head is in `out` or sent */
	bool is_websocket; /* the status in it is 101 */
	bool chunked;
	bool finished;		  /* the exchange is over; `out` holds the rest */
	bool lingering;		  /* the rest is sent too; waits for the caller to close */
	enum fail abandon_reason; /* not FAIL_NONE: the hub must abandon the exchange */
	struct response response;
	struct wsframe_scanner frames; /* of the stream to the caller */
	int64_t received_ms, sent_ms, pinged_ms;
	/* Since then, the caller has read nothing of `out`. 0: `out` is empty. */
	int64_t stalled_ms;
	int64_t deadline_ms; /* if finished or caller_ended: when the socket is closed */
};

struct ws_relays {
	uv_loop_t *loop;
	const struct config *config;
	struct hub *hub;
	int64_t ticked_ms;
	bool stopped;
	TAILQ_HEAD(, ws_relay) all;
	size_t count; /* of `all` */
	TAILQ_HEAD(, ws_relay) dirty;
	uint8_t *scratch; /* READ_BYTES */
};

static void mark_dirty(struct ws_relay *x)
{
	if (!x->dirty)
		TAILQ_INSERT_TAIL(&x->owner->dirty, x, dirty_link);
	x->dirty = true;
}

static int64_t now_ms(const struct ws_relay *x)
{
	return (int64_t)uv_now(x->owner->loop);
}

/* --- closing --- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct ws_relay *x = handle->data;

	close(x->fd);
	ws_request_free(x->request);
	buf_fini(&x->out);
	buf_fini(&x->early);
	free(x);
}

static void close_relay(struct ws_relay *x)
{
	struct ws_relays *u = x->owner;

	if (!x->finished || x->abandon_reason != FAIL_NONE)
		hub_abandon(u->hub, x->request->corr,
			    x->abandon_reason ? x->abandon_reason : FAIL_CANCELLED);
	x->finished = true;
	hub_socket_closed(u->hub, x->request->corr);
	if (x->dirty)
		TAILQ_REMOVE(&u->dirty, x, dirty_link);
	TAILQ_REMOVE(&u->all, x, link);
	u->count--;
	uv_poll_stop(&x->poll);
	uv_close((uv_handle_t *)&x->poll, on_handle_closed);
}

/* Everything was sent. Input must still be read: otherwise the kernel resets the connection, and
 * the caller loses the end of the response. */
static void linger(struct ws_relay *x)
{
	x->lingering = true;
	x->deadline_ms = now_ms(x) + LINGER_MS;
	shutdown(x->fd, SHUT_WR);
}

/* --- from the hub --- */

static void put_text(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

static void finish(struct ws_relay *x)
{
	x->finished = true;
	x->deadline_ms = now_ms(x) + FLUSH_MS;
}

static void fail_with(struct ws_relay *x, enum fail f, bool accepted, bool maybe_delivered)
{
	finish(x);
	if (!x->head_sent)
		local_reply_fail(&x->out, &x->request->to, f, accepted, maybe_delivered);
	/* After the head, there is no way to report the failure: the stream just ends. */
}

static bool put_head(struct ws_relay *x, const struct gate_msg *m)
{
	struct buf head = {0};
	bool good = rewrite_response(&x->response, &x->request->public, "HTTP/1.1", m->head,
				     m->head_bytes, &head);

	if (!good) {
		x->abandon_reason = FAIL_BAD_RESPONSE;
		fail_with(x, FAIL_BAD_RESPONSE, true, true);
	} else {
		x->is_websocket = x->response.status == 101;
		x->chunked = !x->is_websocket && !x->response.bodiless && !x->response.has_length;
		buf_append(&x->out, buf_first(&head), buf_bytes(&head));
		put_text(&x->out, x->is_websocket ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
						  : "Connection: close\r\n");
		put_text(&x->out, x->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
		x->head_sent = true;
	}
	buf_fini(&head);
	return good;
}

static void put_body(struct ws_relay *x, const uint8_t *data, size_t bytes)
{
	char line[24];

	if (!x->is_websocket) /* the app refused the handshake, and this is the body */
		bytes = rewrite_pass(&x->response, bytes);
	if (bytes == 0)
		return;
	if (x->is_websocket)
		wsframe_scan(&x->frames, data, bytes);
	if (x->chunked) {
		snprintf(line, sizeof line, "%zx\r\n", bytes);
		put_text(&x->out, line);
	}
	buf_append(&x->out, data, bytes);
	if (x->chunked)
		put_text(&x->out, "\r\n");
}

/* requester.reply */
static bool on_reply(const struct reply_to *to, const struct gate_msg *m)
{
	/* The relay outlives its exchange: close_relay() abandons it. */
	struct ws_relay *x = OWNER_OF(to->requester, struct ws_relay, requester);

	x->awaiting_reply = false;
	x->boot = m->boot;
	x->credit_bytes = m->number;
	mark_dirty(x);
	if (x->finished)
		return true;
	if (m->flags & GATE_FAILED) {
		fail_with(x, (enum fail)m->fail, m->flags & GATE_ACCEPTED,
			  m->flags & GATE_MAYBE_DELIVERED);
		return true;
	}
	if ((m->flags & GATE_HAS_HEAD) && !x->head_sent && !put_head(x, m))
		return true;
	if (x->head_sent)
		put_body(x, m->body, m->body_bytes);
	if (m->flags & GATE_RESPONSE_END) {
		finish(x);
		if (x->chunked)
			put_text(&x->out, "0\r\n\r\n");
	}
	return true;
}

/* --- to the hub --- */

static void send_message(struct ws_relay *x, struct gate_msg *m)
{
	const struct reply_to to = {.requester = &x->requester};

	memcpy(m->corr, x->request->corr, CORR_BYTES);
	m->boot = x->boot;
	m->number = HOLD_MS;
	x->awaiting_reply = true;
	x->credit_bytes -= (int64_t)m->body_bytes;
	hub_set_now(x->owner->hub, now_ms(x)); /* the loop may have slept long */
	hub_on_gate(x->owner->hub, &to, m);
}

static void send_step(struct ws_relay *x, const void *data, size_t bytes, bool ended)
{
	struct gate_msg m = {.kind = GATE_STEP, .body = data, .body_bytes = bytes};

	if (ended)
		m.flags = GATE_BODY_END;
	send_message(x, &m);
}

static void send_early(struct ws_relay *x)
{
	size_t bytes = buf_bytes(&x->early);

	if ((int64_t)bytes > x->credit_bytes)
		bytes = (size_t)x->credit_bytes;
	send_step(x, buf_first(&x->early), bytes, false);
	buf_consume(&x->early, bytes);
}

/* --- the socket --- */

static void receive(struct ws_relay *x)
{
	uint8_t *scratch = x->owner->scratch;
	size_t most = READ_BYTES;

	if (!x->lingering && x->credit_bytes < (int64_t)most)
		most = (size_t)x->credit_bytes;
	ssize_t got = recv(x->fd, scratch, most, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0 || (got == 0 && x->lingering)) {
		close_relay(x);
		return;
	}
	x->received_ms = now_ms(x);
	if (x->lingering)
		return;
	x->caller_ended = got == 0;
	if (x->caller_ended)
		x->deadline_ms = now_ms(x) + APP_END_MS;
	send_step(x, scratch, (size_t)got, x->caller_ended);
	mark_dirty(x);
}

/* False: the connection is broken. */
static bool send_out(struct ws_relay *x)
{
	while (buf_bytes(&x->out) > 0) {
		ssize_t sent = send(x->fd, buf_first(&x->out), buf_bytes(&x->out),
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN;
		buf_consume(&x->out, (size_t)sent);
		x->sent_ms = now_ms(x);
		x->stalled_ms = 0;
	}
	return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct ws_relay *x = poll->data;

	if (status < 0) {
		close_relay(x);
		return;
	}
	if (events & UV_WRITABLE)
		mark_dirty(x);
	if (events & UV_READABLE)
		receive(x);
}

static void update_poll(struct ws_relay *x)
{
	int events = 0;

	if (x->lingering ||
	    (!x->finished && !x->caller_ended && x->credit_bytes > 0 && buf_bytes(&x->early) == 0))
		events |= UV_READABLE;
	if (buf_bytes(&x->out) > 0)
		events |= UV_WRITABLE;
	if (events == x->events)
		return;
	x->events = events;
	if (events != 0)
		uv_poll_start(&x->poll, events, on_poll);
	else
		uv_poll_stop(&x->poll);
}

static void advance(struct ws_relay *x)
{
	if (x->abandon_reason != FAIL_NONE)
		hub_abandon(x->owner->hub, x->request->corr, x->abandon_reason);
	x->abandon_reason = FAIL_NONE;
	if (!send_out(x)) {
		close_relay(x);
		return;
	}
	/* Otherwise each STEP with the caller's input would fetch more output for a caller that
	 * does not read. */
	hub_note_unsent(x->owner->hub, x->request->corr, buf_bytes(&x->out));
	if (buf_bytes(&x->out) > 0 && x->stalled_ms == 0)
		x->stalled_ms = now_ms(x);
	if (buf_bytes(&x->out) == 0) {
		if (x->finished && !x->lingering)
			linger(x);
		else if (!x->finished && buf_bytes(&x->early) > 0 && x->credit_bytes > 0)
			send_early(x);
		else if (!x->finished && !x->awaiting_reply)
			send_step(x, NULL, 0, false);
	}
	update_poll(x);
}

bool ws_relays_settle(struct ws_relays *u)
{
	struct ws_relay *x;
	bool any = !TAILQ_EMPTY(&u->dirty);

	while ((x = TAILQ_FIRST(&u->dirty)) != NULL) {
		TAILQ_REMOVE(&u->dirty, x, dirty_link);
		x->dirty = false;
		advance(x);
	}
	return any;
}

bool ws_relays_unsettled(const struct ws_relays *u)
{
	return !TAILQ_EMPTY(&u->dirty);
}

size_t ws_relays_count(const struct ws_relays *u)
{
	return u->count;
}

/* --- the tick --- */

static void ping_if_silent(struct ws_relay *x)
{
	static const uint8_t ping[] = {0x89, 0}; /* FIN, opcode 9, not masked (RFC 6455 5.5.2) */
	int64_t every_ms = x->owner->config->websocket_ping_ms;
	int64_t now = now_ms(x);
	int64_t active_ms = x->received_ms < x->sent_ms ? x->received_ms : x->sent_ms;

	if (!x->is_websocket || x->finished || buf_bytes(&x->out) > 0 ||
	    !wsframe_scanner_is_between(&x->frames) || now - active_ms < every_ms ||
	    now - x->pinged_ms < every_ms)
		return;
	x->pinged_ms = now;
	buf_append(&x->out, ping, sizeof ping);
	mark_dirty(x);
}

static bool is_past_deadline(const struct ws_relay *x)
{
	int64_t now = now_ms(x);

	if (x->finished || x->caller_ended)
		return now >= x->deadline_ms;
	return x->stalled_ms != 0 && now - x->stalled_ms >= x->owner->config->idle_timeout_ms;
}

void ws_relays_tick(struct ws_relays *u)
{
	int64_t now = (int64_t)uv_now(u->loop);
	struct ws_relay *x, *next;

	if (now - u->ticked_ms < TICK_MS)
		return;
	u->ticked_ms = now;
	for (x = TAILQ_FIRST(&u->all); x != NULL; x = next) {
		next = TAILQ_NEXT(x, link);
		if (is_past_deadline(x))
			close_relay(x);
		else
			ping_if_silent(x);
	}
}

/* --- start and end --- */

void ws_relay_begin(struct ws_relays *u, int fd, struct ws_request *request, const void *data,
		    size_t bytes)
{
	struct gate_msg m = {.kind = GATE_OPEN,
			     .id = request->id,
			     .id_bytes = strlen(request->id),
			     .head = request->head.data,
			     .head_bytes = request->head.bytes};
	struct ws_relay *x = xcalloc(1, sizeof *x);
	int on = 1;

	x->requester = (struct requester){.reply = on_reply, .websocket = true};
	x->owner = u;
	x->fd = fd;
	x->request = request;
	x->poll.data = x;
	if (u->stopped || uv_poll_init(u->loop, &x->poll, fd) != 0) {
		close(fd);
		ws_request_free(request);
		free(x);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on unix sockets */
	x->received_ms = x->sent_ms = now_ms(x);
	buf_append(&x->early, data, bytes);
	TAILQ_INSERT_TAIL(&u->all, x, link);
	u->count++;
	send_message(x, &m);
	head_fini(&request->head); /* the hub has copied it */
	mark_dirty(x);
}

struct ws_relays *ws_relays_new(uv_loop_t *loop, const struct config *config, struct hub *hub)
{
	struct ws_relays *u = xcalloc(1, sizeof *u);

	u->loop = loop;
	u->config = config;
	u->hub = hub;
	u->scratch = xmalloc(READ_BYTES);
	TAILQ_INIT(&u->all);
	TAILQ_INIT(&u->dirty);
	return u;
}

void ws_relays_stop(struct ws_relays *u)
{
	if (u == NULL || u->stopped)
		return;
	u->stopped = true;
	while (!TAILQ_EMPTY(&u->all))
		close_relay(TAILQ_FIRST(&u->all));
}

void ws_relays_destroy(struct ws_relays **up)
{
	struct ws_relays *u = *up;

	*up = NULL;
	if (u == NULL)
		return;
	CHECK(u->stopped);
	free(u->scratch);
	free(u);
}
