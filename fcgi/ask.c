/* fcgi/ask.c - see ask.h. */
#include "fcgi/ask.h"

#include "common/log.h"
#include "fcgi/gate_link.h" /* for zmq.h */

#include <errno.h>
#include <stdlib.h>

struct ask {
	struct mux *mux;
	uint16_t seat;
	void *socket;
	uint64_t boot; /* of the broker that holds this exchange */
	zmq_msg_t reply;
};

/* Returns false if no descriptor is left. */
static bool open_socket(struct ask *a)
{
	uint32_t routing_id = mux_routing_id(a->seat);
	int linger_ms = 0;

	a->socket = zmq_socket(mux_zmq_context(a->mux), ZMQ_REQ);
	if (a->socket == NULL)
		return false;
	CHECK(zmq_setsockopt(a->socket, ZMQ_ROUTING_ID, &routing_id, sizeof routing_id) == 0);
	CHECK(zmq_setsockopt(a->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms) == 0);
	CHECK(zmq_connect(a->socket, MUX_ENDPOINT) == 0);
	return true;
}

struct ask *ask_new(struct mux *m, uint16_t seat)
{
	struct ask *a = xcalloc(1, sizeof *a);

	a->mux = m;
	a->seat = seat;
	zmq_msg_init(&a->reply);
	if (open_socket(a))
		return a;
	log_limited_error("", "gate.no_socket why=\"%s\"", zmq_strerror(errno));
	free(a);
	return NULL;
}

void ask_destroy(struct ask **ap)
{
	struct ask *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	zmq_msg_close(&a->reply);
	zmq_close(a->socket);
	free(a);
}

static bool send_message(struct ask *a, struct gate_msg *m)
{
	zmq_msg_t payload;

	m->process = mux_process(a->mux);
	m->boot = a->boot;
	m->seat = a->seat;
	CHECK(zmq_msg_init_size(&payload, gate_msg_bytes(m)) == 0);
	gate_msg_encode(m, zmq_msg_data(&payload));
	if (zmq_msg_send(&payload, a->socket, 0) >= 0)
		return true;
	zmq_msg_close(&payload);
	return false;
}

static bool receive_message(struct ask *a, struct gate_msg *reply)
{
	int got;

	zmq_msg_close(&a->reply);
	zmq_msg_init(&a->reply);
	do {
		got = zmq_msg_recv(&a->reply, a->socket, 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return false;
	CHECK(gate_msg_decode(zmq_msg_data(&a->reply), zmq_msg_size(&a->reply), reply));
	a->boot = reply->boot;
	return true;
}

void ask_send(struct ask *a, struct gate_msg *m)
{
	CHECK(send_message(a, m)); /* inproc, and no other message is in flight */
	mux_asked(a->mux);
}

void ask_receive(struct ask *a, struct gate_msg *reply)
{
	CHECK(receive_message(a, reply)); /* the mux has sent it and decoded it before */
}

void ask_call(struct ask *a, struct gate_msg *m, struct gate_msg *reply)
{
	if (send_message(a, m) && receive_message(a, reply))
		return;
	CHECK(errno == ETERM); /* only mux_stop() interrupts the wait: the mux always replies */
	*reply = (struct gate_msg){
		.kind = GATE_REPLY,
		.flags = GATE_FAILED | GATE_ACCEPTED | GATE_MAYBE_DELIVERED,
		.fail = FAIL_SHUTTING_DOWN,
	};
}
