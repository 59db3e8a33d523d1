/* broker/ws_relay.c - see ws_relay.h.
 *
 *   STEP is under way (asked) -> reply -> written to the caller -> STEP ...
 *
 * That is one direction; what the caller sends goes in STEPs of its own, as far as the last
 * reply gave credit. So one reply, or one piece, is all that is held here for each direction. */
#include "broker/ws_relay.h"

#include "broker/core/deadline.h"
#include "common/log.h"

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
	HOLD_MS = 10000, /* PROTOCOL.md: the longest that the broker takes */
	TICK_MS = 1000,
	REST_MS = 30000,  /* for the caller to take what was sent before the exchange ended */
	LINGER_MS = 2000, /* and then to close */
	LEFT_MS = 10000,  /* for the app to end it too, once the caller has */
	READ_BYTES = 64 * 1024,
	FRAME_HEADER_MAX_BYTES = 14, /* RFC 6455 5.2 */
};

/* Where in its WebSocket frames the stream to the caller is. */
struct frames {
	uint8_t header[FRAME_HEADER_MAX_BYTES];
	size_t header_bytes;
	uint64_t payload_left_bytes;
};

struct ws_relay {
	struct requester requester; /* of one exchange */
	TAILQ_ENTRY(ws_relay) link; /* ws_relays->all */
	TAILQ_ENTRY(ws_relay) dirty_link;
	bool dirty;
	struct ws_relays *owner;
	uv_poll_t poll;
	int events; /* what the poll waits for */
	int fd;
	struct ws_request *request;
	struct buf out; /* to the caller */
	struct buf in;	/* came before there was credit: with the head only */
	int64_t credit_bytes;
	uint64_t boot;
	bool asked;	   /* a reply will come */
	bool in_ended;	   /* the caller will send nothing more */
	bool headed;	   /* the response head is out */
	bool is_websocket; /* and it was 101 */
	bool chunked;
	bool finished;	   /* the exchange is over: what is in `out` is the rest */
	bool lingering;	   /* and that is out too */
	enum fail give_up; /* the hub is to be told so */
	struct response response;
	struct frames frames;
	int64_t read_ms, written_ms, pinged_ms;
	int64_t stuck_ms; /* since then the caller has taken nothing of `out`; 0: nothing waits */
	int64_t until_ms; /* finished, or in_ended: then it is closed */
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
	uint8_t *piece; /* READ_BYTES */
};

static void touch(struct ws_relay *x)
{
	if (!x->dirty)
		TAILQ_INSERT_TAIL(&x->owner->dirty, x, dirty_link);
	x->dirty = true;
}

static int64_t now_ms(const struct ws_relay *x)
{
	return (int64_t)uv_now(x->owner->loop);
}

/* --- frames --- */

static size_t header_wants_bytes(const struct frames *f)
{
	size_t bytes = 2;

	if (f->header_bytes < 2)
		return bytes;
	if ((f->header[1] & 0x7f) == 126)
		bytes += 2;
	else if ((f->header[1] & 0x7f) == 127)
		bytes += 8;
	return bytes + (f->header[1] & 0x80 ? 4 : 0);
}

static void header_is_whole(struct frames *f)
{
	uint8_t length = f->header[1] & 0x7f;
	size_t bytes = length == 126 ? 2 : length == 127 ? 8 : 0;

	f->payload_left_bytes = bytes ? 0 : length;
	for (size_t i = 0; i < bytes; i++)
		f->payload_left_bytes = f->payload_left_bytes << 8 | f->header[2 + i];
	f->header_bytes = 0;
}

static void frames_pass(struct frames *f, const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		size_t step = 1;
		if (f->payload_left_bytes > 0) {
			step = f->payload_left_bytes < bytes ? (size_t)f->payload_left_bytes
							     : bytes;
			f->payload_left_bytes -= step;
		} else {
			f->header[f->header_bytes++] = *data;
			if (f->header_bytes == header_wants_bytes(f))
				header_is_whole(f);
		}
		data += step;
		bytes -= step;
	}
}

static bool between_frames(const struct frames *f)
{
	return f->header_bytes == 0 && f->payload_left_bytes == 0;
}

/* --- ends --- */

static void closed(uv_handle_t *handle)
{
	struct ws_relay *x = handle->data;

	close(x->fd);
	ws_request_free(x->request);
	buf_fini(&x->out);
	buf_fini(&x->in);
	free(x);
}

static void end(struct ws_relay *x)
{
	struct ws_relays *u = x->owner;

	if (!x->finished || x->give_up != FAIL_NONE)
		hub_abandon(u->hub, x->request->corr, x->give_up ? x->give_up : FAIL_CANCELLED);
	x->finished = true;
	hub_socket_closed(u->hub, x->request->corr);
	if (x->dirty)
		TAILQ_REMOVE(&u->dirty, x, dirty_link);
	TAILQ_REMOVE(&u->all, x, link);
	u->count--;
	uv_poll_stop(&x->poll);
	uv_close((uv_handle_t *)&x->poll, closed);
}

/* Everything is out. What the peer still sends must be taken, or the kernel resets the
 * connection and the end of the answer is lost. */
static void linger(struct ws_relay *x)
{
	x->lingering = true;
	x->until_ms = now_ms(x) + LINGER_MS;
	shutdown(x->fd, SHUT_WR);
}

/* --- from the hub --- */

static void put(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

static void finish(struct ws_relay *x)
{
	x->finished = true;
	x->until_ms = now_ms(x) + REST_MS;
}

static void fail_with(struct ws_relay *x, enum fail f, bool accepted, bool maybe_delivered)
{
	finish(x);
	if (!x->headed)
		local_reply_fail(&x->out, &x->request->to, f, accepted, maybe_delivered);
	/* After the head nothing is said: a stream that just ends is one that was cut. */
}

static bool put_head(struct ws_relay *x, const struct gate_msg *m)
{
	struct buf head = {0};
	bool good = rewrite_response(&x->response, &x->request->public, "HTTP/1.1", m->head,
				     m->head_bytes, &head);

	if (!good) {
		x->give_up = FAIL_BAD_RESPONSE;
		fail_with(x, FAIL_BAD_RESPONSE, true, true);
	} else {
		x->is_websocket = x->response.status == 101;
		x->chunked = !x->is_websocket && !x->response.bodiless && !x->response.has_length;
		buf_append(&x->out, buf_first(&head), buf_bytes(&head));
		put(&x->out, x->is_websocket ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
					     : "Connection: close\r\n");
		put(&x->out, x->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
		x->headed = true;
	}
	buf_fini(&head);
	return good;
}

static void put_body(struct ws_relay *x, const uint8_t *data, size_t bytes)
{
	char line[24];

	if (!x->is_websocket) /* the body of a refusal */
		bytes = rewrite_pass(&x->response, bytes);
	if (bytes == 0)
		return;
	if (x->is_websocket)
		frames_pass(&x->frames, data, bytes);
	if (x->chunked) {
		snprintf(line, sizeof line, "%zx\r\n", bytes);
		put(&x->out, line);
	}
	buf_append(&x->out, data, bytes);
	if (x->chunked)
		put(&x->out, "\r\n");
}

/* requester.reply */
static bool on_reply(const struct reply_to *to, const struct gate_msg *m)
{
	/* It lives as long as its exchange: see end(). */
	struct ws_relay *x = OWNER_OF(to->requester, struct ws_relay, requester);

	x->asked = false;
	x->boot = m->boot;
	x->credit_bytes = m->number;
	touch(x);
	if (x->finished)
		return true;
	if (m->flags & GATE_FAILED) {
		fail_with(x, (enum fail)m->fail, m->flags & GATE_ACCEPTED,
			  m->flags & GATE_MAYBE_DELIVERED);
		return true;
	}
	if ((m->flags & GATE_HAS_HEAD) && !x->headed && !put_head(x, m))
		return true;
	if (x->headed)
		put_body(x, m->body, m->body_bytes);
	if (m->flags & GATE_RESPONSE_END) {
		finish(x);
		if (x->chunked)
			put(&x->out, "0\r\n\r\n");
	}
	return true;
}

/* --- to the hub --- */

static void say(struct ws_relay *x, struct gate_msg *m)
{
	const struct reply_to to = {.requester = &x->requester};

	memcpy(m->corr, x->request->corr, CORR_BYTES);
	m->boot = x->boot;
	m->number = HOLD_MS;
	x->asked = true;
	x->credit_bytes -= (int64_t)m->body_bytes;
	hub_set_now(x->owner->hub, now_ms(x)); /* the loop may have slept long */
	hub_on_gate(x->owner->hub, &to, m);
}

static void step(struct ws_relay *x, const void *data, size_t bytes, bool ended)
{
	struct gate_msg m = {.kind = GATE_STEP, .body = data, .body_bytes = bytes};

	if (ended)
		m.flags = GATE_BODY_END;
	say(x, &m);
}

static void send_what_came_early(struct ws_relay *x)
{
	size_t bytes = buf_bytes(&x->in);

	if ((int64_t)bytes > x->credit_bytes)
		bytes = (size_t)x->credit_bytes;
	step(x, buf_first(&x->in), bytes, false);
	buf_consume(&x->in, bytes);
}

/* --- the socket --- */

static void take_in(struct ws_relay *x)
{
	uint8_t *piece = x->owner->piece;
	size_t most = READ_BYTES;

	if (!x->lingering && x->credit_bytes < (int64_t)most)
		most = (size_t)x->credit_bytes;
	ssize_t got = recv(x->fd, piece, most, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0 || (got == 0 && x->lingering)) {
		end(x);
		return;
	}
	x->read_ms = now_ms(x);
	if (x->lingering)
		return;
	x->in_ended = got == 0;
	if (x->in_ended)
		x->until_ms = now_ms(x) + LEFT_MS;
	step(x, piece, (size_t)got, x->in_ended);
	touch(x);
}

/* False: the socket is dead. */
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
		x->written_ms = now_ms(x);
		x->stuck_ms = 0;
	}
	return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct ws_relay *x = poll->data;

	if (status < 0) {
		end(x);
		return;
	}
	if (events & UV_WRITABLE)
		touch(x);
	if (events & UV_READABLE)
		take_in(x);
}

static void watch(struct ws_relay *x)
{
	int events = 0;

	if (x->lingering ||
	    (!x->finished && !x->in_ended && x->credit_bytes > 0 && buf_bytes(&x->in) == 0))
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
	if (x->give_up != FAIL_NONE)
		hub_abandon(x->owner->hub, x->request->corr, x->give_up);
	x->give_up = FAIL_NONE;
	if (!send_out(x)) {
		end(x);
		return;
	}
	/* What the caller sends goes in STEPs of its own, and each would fetch more for it to
	 * read. */
	hub_note_unsent(x->owner->hub, x->request->corr, buf_bytes(&x->out));
	if (buf_bytes(&x->out) > 0 && x->stuck_ms == 0)
		x->stuck_ms = now_ms(x);
	if (buf_bytes(&x->out) == 0) {
		if (x->finished && !x->lingering)
			linger(x);
		else if (!x->finished && buf_bytes(&x->in) > 0 && x->credit_bytes > 0)
			send_what_came_early(x);
		else if (!x->finished && !x->asked)
			step(x, NULL, 0, false);
	}
	watch(x);
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
	int64_t heard_ms = x->read_ms < x->written_ms ? x->read_ms : x->written_ms;

	if (!x->is_websocket || x->finished || buf_bytes(&x->out) > 0 ||
	    !between_frames(&x->frames) || now - heard_ms < every_ms ||
	    now - x->pinged_ms < every_ms)
		return;
	x->pinged_ms = now;
	buf_append(&x->out, ping, sizeof ping);
	touch(x);
}

static bool is_over(const struct ws_relay *x)
{
	int64_t now = now_ms(x);

	if (x->finished || x->in_ended)
		return now >= x->until_ms;
	return x->stuck_ms != 0 && now - x->stuck_ms >= x->owner->config->idle_timeout_ms;
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
		if (is_over(x))
			end(x);
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
	x->read_ms = x->written_ms = now_ms(x);
	buf_append(&x->in, data, bytes);
	TAILQ_INSERT_TAIL(&u->all, x, link);
	u->count++;
	say(x, &m);
	head_fini(&request->head); /* the hub has its own, for as long as it needs it */
	touch(x);
}

struct ws_relays *ws_relays_new(uv_loop_t *loop, const struct config *config, struct hub *hub)
{
	struct ws_relays *u = xcalloc(1, sizeof *u);

	u->loop = loop;
	u->config = config;
	u->hub = hub;
	u->piece = xmalloc(READ_BYTES);
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
		end(TAILQ_FIRST(&u->all));
}

void ws_relays_destroy(struct ws_relays **up)
{
	struct ws_relays *u = *up;

	*up = NULL;
	if (u == NULL)
		return;
	CHECK(u->stopped);
	free(u->piece);
	free(u);
}
