/* fcgi/gate_link.c - see gate_link.h. */
#include "fcgi/gate_link.h"

#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	HEARTBEAT_MS = 300,
	HEARTBEAT_TIMEOUT_MS = 1000, /* covers a broker process that is stopped, not dead */
	RECONNECT_MS = 50,
	RECONNECT_MAX_MS = 1000,
};

struct gate_link {
	void *socket, *monitor;
	struct gate_link_events events;
	bool is_open;
	char monitor_name[48];
};

/* --- messages --- */

bool gate_link_send(struct gate_link *l, zmq_msg_t *payload)
{
	return l->is_open && zmq_msg_send(payload, l->socket, ZMQ_DONTWAIT) >= 0;
}

void gate_link_notify(struct gate_link *l, const struct gate_msg *m)
{
	uint8_t wire[GATE_CONTROL_BYTES];

	gate_msg_encode(m, wire);
	zmq_send(l->socket, wire, sizeof wire, ZMQ_DONTWAIT);
}

bool gate_link_receive(struct gate_link *l, zmq_msg_t *payload)
{
	return zmq_msg_recv(payload, l->socket, ZMQ_DONTWAIT) >= 0;
}

/* --- monitor --- */

static void on_monitor_event(struct gate_link *l, uint16_t number)
{
	if (number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
		l->is_open = true;
		log_info("gate.connected");
		l->events.opened(l->events.ctx);
	} else if (number == ZMQ_EVENT_DISCONNECTED && l->is_open) {
		l->is_open = false;
		log_warn("gate.lost");
		l->events.lost(l->events.ctx);
	}
}

void gate_link_work(struct gate_link *l)
{
	for (;;) {
		zmq_msg_t event;
		uint16_t number = 0;
		zmq_msg_init(&event);
		if (zmq_msg_recv(&event, l->monitor, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&event);
			return;
		}
		if (zmq_msg_size(&event) >= sizeof number)
			memcpy(&number, zmq_msg_data(&event), sizeof number);
		bool more = zmq_msg_more(&event);
		zmq_msg_close(&event);
		if (more) { /* the address */
			zmq_msg_init(&event);
			zmq_msg_recv(&event, l->monitor, 0);
			zmq_msg_close(&event);
		}
		on_monitor_event(l, number);
	}
}

bool gate_link_is_open(const struct gate_link *l)
{
	return l->is_open;
}

void gate_link_watch_socket(void *socket, int epoll_fd, void *data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
	int fd;
	size_t bytes = sizeof fd;

	CHECK(zmq_getsockopt(socket, ZMQ_FD, &fd, &bytes) == 0);
	CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void gate_link_watch(struct gate_link *l, int epoll_fd, void *data)
{
	gate_link_watch_socket(l->socket, epoll_fd, data);
	gate_link_watch_socket(l->monitor, epoll_fd, data);
}

/* --- start and end --- */

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof value);
}

static bool set_options(void *socket)
{
	int64_t most = GATE_MAX_MESSAGE_BYTES;

	return set_int(socket, ZMQ_IMMEDIATE, 1) == 0 && set_int(socket, ZMQ_LINGER, 0) == 0 &&
	       /* The number of seats is the bound, one message each; a full queue would look like a
	        * closed link. */
	       set_int(socket, ZMQ_SNDHWM, 0) == 0 && set_int(socket, ZMQ_RCVHWM, 0) == 0 &&
	       set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) == 0 &&
	       set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) == 0 &&
	       set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) == 0 &&
	       set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS) == 0 &&
	       zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0;
}

static bool open_monitor(struct gate_link *l, void *zmq_context)
{
	snprintf(l->monitor_name, sizeof l->monitor_name, "inproc://monitor-%p", (void *)l);
	if (zmq_socket_monitor(l->socket, l->monitor_name,
			       ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) != 0)
		return false;
	l->monitor = zmq_socket(zmq_context, ZMQ_PAIR);
	return l->monitor != NULL && set_int(l->monitor, ZMQ_LINGER, 0) == 0 &&
	       zmq_connect(l->monitor, l->monitor_name) == 0;
}

struct gate_link *gate_link_new(void *zmq_context, const char *endpoint,
				const struct gate_link_events *events)
{
	struct gate_link *l = xcalloc(1, sizeof *l);

	l->events = *events;
	l->socket = zmq_socket(zmq_context, ZMQ_DEALER);
	if (l->socket != NULL && set_options(l->socket) && open_monitor(l, zmq_context) &&
	    zmq_connect(l->socket, endpoint) == 0)
		return l;
	gate_link_destroy(&l);
	return NULL;
}

void gate_link_destroy(struct gate_link **lp)
{
	struct gate_link *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	int error = zmq_errno();
	if (l->monitor != NULL)
		zmq_close(l->monitor);
	if (l->socket != NULL)
		zmq_close(l->socket);
	free(l);
	errno = error;
}

void gate_link_linger(struct gate_link *l, int most_ms)
{
	CHECK(set_int(l->socket, ZMQ_LINGER, most_ms) == 0);
}

const char *gate_link_library_version(void)
{
	static char text[32];
	int major, minor, patch;

	zmq_version(&major, &minor, &patch);
	snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
	return text;
}
