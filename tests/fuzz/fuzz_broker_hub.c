/* The whole core of the broker: responders, v1 and v2 clients and the clock take turns as the
 * input says. */
#include "tests/fuzz/world.h"

#include <stdio.h>

static const char *const ids[] = {"a", "b", "my-app"};

static void open_step(struct world *w, struct input *in)
{
	static const char *const methods[] = {"GET", "POST", "PROPFIND", "HEAD"};
	uint8_t who = input_byte(in), what = input_byte(in);
	size_t body_bytes = what & 128 ? input_number(in) : 0;
	struct head head = {0};

	world_request(&head, methods[what % 4], what & 4 ? "/x?a=%ff&b" : "/");
	if (what & 8)
		head_add(&head, "x-long", "\xff\xfe");
	world_open(w, who % WORLD_PEERS, ids[what / 16 % 3], &head,
		   (what & 64 ? GATE_BODY_END : 0) | (what & 16 ? GATE_HAS_LENGTH : 0), body_bytes);
	head_fini(&head);
}

static void step_step(struct world *w, struct input *in)
{
	uint8_t who = input_byte(in), what = input_byte(in);
	size_t body_bytes = what & 128 ? input_number(in) : 0;
	static const uint32_t holds[] = {0, 1, 10000, UINT32_MAX};

	world_step(w, who % WORLD_PEERS, what & 64 ? GATE_CANCEL : GATE_STEP,
		   what & 32 ? GATE_BODY_END : 0, holds[what % 4], body_bytes);
}

static void gate_step(struct world *w, struct input *in)
{
	size_t peer = input_byte(in) % WORLD_PEERS, bytes;
	const uint8_t *at = input_take(in, input_byte(in) + 32, &bytes);
	uint8_t *wire = copy_of(at, bytes);
	struct gate_msg m;

	if (gate_msg_decode(wire, bytes, &m)) { /* a worker names its own exchange and process */
		memset(m.corr, (int)peer, sizeof m.corr);
		m.process = world_process(w, peer);
		world_send(w, peer, &m);
	}
	free(wire);
}

static void connect_step(struct world *w, uint8_t step, struct input *in)
{
	uint8_t what = input_byte(in);

	world_connect(w, step % WORLD_SOCKETS, step & 8 ? &protocol_v1 : &protocol_v2,
		      ids[what % 3]);
	if (!(step & 4))
		world_hello(w, step % WORLD_SOCKETS, what & 16 ? "1" : "100",
			    what & 32 ? "65536" : "99999999",
			    what & 64 ? "0123456789abcdef0123456789abcdef" : "short");
}

static void frame_step(struct world *w, uint8_t step, struct input *in)
{
	uint8_t type = input_byte(in), flags = input_byte(in), stream = input_byte(in);
	size_t zeros = type & 128 ? input_number(in) : 0, bytes;
	const uint8_t *at = input_take(in, input_byte(in), &bytes);
	uint8_t *payload = xcalloc(1, bytes + zeros);

	if (bytes > 0)
		memcpy(payload, at, bytes);
	world_receive_frame(w, step % WORLD_SOCKETS, type & 15, flags, stream, payload,
			    bytes + zeros);
	free(payload);
}

static void v1_step(struct world *w, uint8_t step, struct input *in)
{
	uint8_t corr = input_byte(in) % 8, what = input_byte(in);
	char message[256], id[33];

	for (int i = 0; i < 16; i++)
		snprintf(id + 2 * i, 3, "%02x", corr);
	int bytes = snprintf(message, sizeof message,
			     "{\"correlation_id\":\"%s\",\"headers\":\"%s\",\"body\":\"%s\","
			     "\"status_code\":%d}",
			     id, what & 1 ? "{\\\"content-length\\\":\\\"9\\\"}" : "",
			     what & 2 ? "AAAA" : "", what & 4 ? 99 : 200);
	world_receive(w, step % WORLD_SOCKETS, message, (size_t)bytes);
}

static void message_step(struct world *w, uint8_t step, struct input *in)
{
	size_t bytes;
	const uint8_t *at = input_take(in, input_number(in) % 1024, &bytes);

	world_receive(w, step % WORLD_SOCKETS, at, bytes);
}

static void socket_step(struct world *w, uint8_t step)
{
	struct world_socket *s = &w->sockets[step % WORLD_SOCKETS];

	if (step & 8) {
		world_disconnect(w, step % WORLD_SOCKETS);
	} else if (s->tunnel != NULL && !s->closing) {
		s->blocked = (step & 4) != 0;
		world_flush(s);
	}
}

static void clock_step(struct world *w, uint8_t step)
{
	if (step == 0xff)
		hub_drain(w->hub);
	else if (step == 0xfe)
		hub_end_all(w->hub);
	else if (step == 0xfc)
		world_close_websocket(w);
	else if (step == 0xfd)
		world_lose_responders(w);
	else
		world_later(w, (step & 15) * 700);
}

/* What went down a v2 tunnel is whole frames, with heads that can be read. */
static void check_sent(struct world_socket *s)
{
	struct frame f;
	size_t used;

	if (s->tunnel == NULL || s->tunnel->protocol != &protocol_v2)
		return;
	while (buf_bytes(&s->sent) > 0) {
		const uint8_t *head, *body;
		size_t head_bytes, body_bytes;
		CHECK(frame_get(buf_first(&s->sent), buf_bytes(&s->sent), &f, &used) == 1);
		if (f.type == FRAME_OPEN)
			CHECK(frame_split_head(&f, &head, &head_bytes, &body, &body_bytes));
		buf_consume(&s->sent, used);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	static struct world w;

	world_init(&w);
	w.websockets = true;
	while (in.left > 0) {
		uint8_t step = input_byte(&in);
		switch (step >> 4) {
		case 0:
		case 1:
			open_step(&w, &in);
			break;
		case 2:
		case 3:
			step_step(&w, &in);
			break;
		case 4:
			gate_step(&w, &in);
			break;
		case 5:
			connect_step(&w, step, &in);
			break;
		case 6:
		case 7:
			frame_step(&w, step, &in);
			break;
		case 8:
			world_answer(&w, step % WORLD_SOCKETS, step & 8 ? FRAME_END : 0,
				     input_byte(&in), "body", step & 4);
			break;
		case 9:
			v1_step(&w, step, &in);
			break;
		case 10:
			message_step(&w, step, &in);
			break;
		case 11:
			socket_step(&w, step);
			break;
		case 12:
		case 13:
			world_settle(&w);
			for (size_t i = 0; i < WORLD_SOCKETS; i++)
				check_sent(&w.sockets[i]);
			break;
		default:
			clock_step(&w, step);
			break;
		}
	}
	world_fini(&w);
	return 0;
}
