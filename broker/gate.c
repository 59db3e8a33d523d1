/* broker/gate.c - see gate.h. */
#include "broker/gate.h"

#include "broker/core/deadline.h"
#include "common/socket_claim.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum {
	HIGH_WATER_MESSAGES = 10000,
	BUDGET_MESSAGES = 256, /* per gate_drain(): tunnels get their turn too */
	LINGER_MS = 500,
};

struct gate {
	struct requester requester; /* of all responders */
	void *context;
	void *router;
	struct hub *hub;
	uv_poll_t *poll;   /* libuv frees it late: see gate_destroy() */
	char *socket_path; /* ipc only; removed at the end */
	/* False: the last look found nothing, and whatever comes now makes the descriptor
	 * readable. Sending may take that signal in. */
	bool may_have_input;
};

/* gate_drain() runs before every wait. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct gate *g = poll->data;

	(void)status;
	(void)events;
	g->may_have_input = true;
}

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof value);
}

static bool make_router(struct gate *g)
{
	int64_t most = GATE_MAX_MESSAGE_BYTES;

	g->context = zmq_ctx_new();
	if (g->context == NULL)
		return false;
	zmq_ctx_set(g->context, ZMQ_MAX_SOCKETS, 64);
	g->router = zmq_socket(g->context, ZMQ_ROUTER);
	return g->router != NULL && set_int(g->router, ZMQ_ROUTER_MANDATORY, 1) == 0 &&
	       set_int(g->router, ZMQ_RCVHWM, HIGH_WATER_MESSAGES) == 0 &&
	       set_int(g->router, ZMQ_SNDHWM, HIGH_WATER_MESSAGES) == 0 &&
	       set_int(g->router, ZMQ_LINGER, LINGER_MS) == 0 &&
	       zmq_setsockopt(g->router, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0;
}

static int complain(const struct config *c, const char *why)
{
	return cli_complain("--gate (PIPEGATE_GATE)", why, c->gate);
}

/* ZeroMQ takes an ipc name away from whoever holds it, so claim it first: under the claim's lock a
 * live holder is refused and a dead one removed; then ZeroMQ binds, with the file mode we want. */
static int bind_ipc(struct gate *g, const struct config *c)
{
	const char *path = c->gate + strlen("ipc://");
	char why[160];

	struct socket_claim claim;
	if (socket_claim_path(&claim, path, why, sizeof why) != 0)
		return complain(c, why);
	mode_t old = umask(0117); /* 0660 */
	int result = zmq_bind(g->router, c->gate);
	int bind_errno = errno;
	umask(old);
	if (result == 0)
		result = socket_claim_set_group(path, c->socket_group, why, sizeof why);
	else
		snprintf(why, sizeof why, "%s", zmq_strerror(bind_errno));
	socket_claim_release(&claim);
	if (result != 0)
		return complain(c, why);
	g->socket_path = xstrdup(path);
	return 0;
}

static int bind_gate(struct gate *g, const struct config *c)
{
	if (strncmp(c->gate, "ipc://", 6) == 0)
		return bind_ipc(g, c);
	if (zmq_bind(g->router, c->gate) != 0)
		return complain(c, zmq_strerror(errno));
	return 0;
}

/* Sends what stands before the message: in the form in which the request came. */
static bool send_envelope(const struct gate *g, const struct reply_to *to)
{
	size_t used = 0;

	for (int i = 0; i < to->parts; i++) {
		if (zmq_send(g->router, to->data + used, to->part_bytes[i],
			     ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
			return false; /* gone, or it reads nothing; only the first part fails so */
		used += to->part_bytes[i];
	}
	return !to->delimited || zmq_send(g->router, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0;
}

/* requester.reply */
static bool reply(const struct reply_to *to, const struct gate_msg *m)
{
	struct gate *g = OWNER_OF(to->requester, struct gate, requester);
	struct gate_msg seated = *m;
	zmq_msg_t payload;

	g->may_have_input = true;
	/* Before the envelope: after it nothing may fail. */
	if (zmq_msg_init_size(&payload, gate_msg_bytes(m)) != 0)
		return false;
	seated.seat = to->seat;
	gate_msg_encode(&seated, zmq_msg_data(&payload));
	if (send_envelope(g, to) && zmq_msg_send(&payload, g->router, ZMQ_DONTWAIT) >= 0)
		return true;
	zmq_msg_close(&payload);
	return false;
}

struct gate *gate_new(uv_loop_t *loop, const struct config *config, struct hub *hub)
{
	struct gate *g = xcalloc(1, sizeof *g);
	int fd;
	size_t fd_bytes = sizeof fd;

	g->requester.reply = reply;
	g->hub = hub;
	g->may_have_input = true;
	g->poll = xcalloc(1, sizeof *g->poll);
	if (!make_router(g))
		cli_complain("--gate (PIPEGATE_GATE)", zmq_strerror(errno), config->gate);
	else if (bind_gate(g, config) == 0 &&
		 zmq_getsockopt(g->router, ZMQ_FD, &fd, &fd_bytes) == 0 &&
		 uv_poll_init(loop, g->poll, fd) == 0) {
		g->poll->data = g;
		uv_poll_start(g->poll, UV_READABLE, on_readable);
		return g;
	}
	free(g->poll);
	g->poll = NULL;
	gate_destroy(&g);
	return NULL;
}

static void free_poll(uv_handle_t *handle)
{
	free(handle);
}

void gate_destroy(struct gate **gp)
{
	struct gate *g = *gp;

	*gp = NULL;
	if (g == NULL)
		return;
	if (g->poll != NULL)
		uv_close((uv_handle_t *)g->poll, free_poll);
	if (g->socket_path != NULL)
		unlink(g->socket_path); /* while the socket is still ours */
	if (g->router != NULL)
		zmq_close(g->router);
	if (g->context != NULL)
		zmq_ctx_term(g->context);
	free(g->socket_path);
	free(g);
}

/* Keeps a part of the envelope. False: too many, or too large. */
static bool keep_part(struct reply_to *to, size_t *used, zmq_msg_t *part)
{
	size_t bytes = zmq_msg_size(part);

	if (to->parts >= sizeof to->part_bytes || bytes > UINT8_MAX ||
	    *used + bytes > sizeof to->data)
		return false;
	memcpy(to->data + *used, zmq_msg_data(part), bytes);
	to->part_bytes[to->parts++] = (uint8_t)bytes;
	*used += bytes;
	return true;
}

/* Receives one message: the routing id and the payload, or, from a REQ socket, envelope parts and
 * an empty one before the payload. 1: *payload is to be closed. 0: nothing is there. -1: it was
 * malformed and is gone. */
static int receive(struct gate *g, struct reply_to *to, zmq_msg_t *payload)
{
	size_t used = 0;
	bool good = true;

	*to = (struct reply_to){.requester = &g->requester};
	for (;;) {
		if (zmq_msg_recv(payload, g->router, ZMQ_DONTWAIT) < 0) {
			g->may_have_input = errno != EAGAIN;
			return 0; /* the parts of a message come together: this is between two */
		}
		if (!zmq_msg_more(payload))
			return good && (to->delimited || to->parts == 1) ? 1 : -1;
		if (to->delimited)
			good = false; /* two parts after the empty one */
		else if (zmq_msg_size(payload) == 0)
			to->delimited = true;
		else
			good = good && keep_part(to, &used, payload);
	}
}

static bool drain_one(struct gate *g)
{
	struct reply_to to;
	struct gate_msg m;
	zmq_msg_t payload;

	zmq_msg_init(&payload);
	int got = receive(g, &to, &payload);
	if (got == 1 && gate_msg_decode(zmq_msg_data(&payload), zmq_msg_size(&payload), &m)) {
		to.seat = m.seat;
		if (m.kind == GATE_OPEN && m.process == 0) /* it would not end with its responder */
			hub_refuse(g->hub, &to, &m, FAIL_BAD_REQUEST);
		else
			hub_on_gate(g->hub, &to, &m);
	} else if (got != 0) {
		log_limited_warn("", "gate.malformed bytes=%zu", zmq_msg_size(&payload));
	}
	zmq_msg_close(&payload);
	return got != 0;
}

void gate_drain(struct gate *g)
{
	for (int i = 0; i < BUDGET_MESSAGES && g->may_have_input; i++) {
		if (!drain_one(g))
			break;
	}
}

bool gate_has_input(struct gate *g)
{
	int events = 0;
	size_t bytes = sizeof events;

	if (g->may_have_input && zmq_getsockopt(g->router, ZMQ_EVENTS, &events, &bytes) == 0)
		g->may_have_input = events & ZMQ_POLLIN;
	return g->may_have_input;
}

const char *gate_library_version(void)
{
	static char text[32];
	int major, minor, patch;

	zmq_version(&major, &minor, &patch);
	snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
	return text;
}
