/* A v2 client that sends whatever it likes, while three requests run on its tunnel. The input is
 * messages, each behind the two bytes of its length; with the length's highest bit set, replies
 * are fetched first. */
#include "common/rewrite.h"
#include "tests/fuzz/world.h"

static void check_reply(const struct gate_msg *m)
{
	static const struct public_name q = {"/a", "https://pub.example", "00ff", false, false};
	struct response r;
	struct buf out = {0};

	CHECK(!(m->flags & GATE_FAILED) || (m->fail > 0 && m->fail < FAIL_COUNT));
	CHECK(m->body_bytes <= GATE_PIECE_BYTES);
	if (m->flags & GATE_HAS_HEAD) {
		CHECK(head_valid(m->head, m->head_bytes));
		(void)!rewrite_response(&r, &q, "Status:", m->head, m->head_bytes, &out);
	}
	buf_fini(&out);
}

static void fetch_replies(struct world *w)
{
	world_settle(w);
	for (uint8_t i = 0; i < 3; i++) {
		if (w->peers[i].waiting)
			continue;
		check_reply(&w->peers[i].last);
		world_step(w, i, GATE_STEP, 0, 10000, 0);
	}
	world_settle(w);
}

/* What is wrong about one stream costs that stream. */
static void check_close(const struct world_socket *s)
{
	if (s->close_code == 1002)
		CHECK(strcmp(s->close_reason, "malformed frame") == 0 ||
		      strcmp(s->close_reason, "HELLO expected") == 0 ||
		      strcmp(s->close_reason, "HELLO of version 2 expected") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct world w;
	struct input in = {data, bytes};
	struct head head = {0};

	world_init(&w);
	w.config.max_concurrent = 10;
	world_connect(&w, 0, &protocol_v2, "a");
	if (bytes % 8 != 0)
		world_hello(&w, 0, "10", "65536", "0123456789abcdef0123456789abcdef");
	world_request(&head, "POST", "/");
	world_open(&w, 0, "a", &head, GATE_BODY_END, 0);
	world_open(&w, 1, "a", &head, 0, 1000);
	world_open(&w, 2, "a", &head, GATE_BODY_END, 0xffff);
	world_settle(&w);
	while (in.left > 0) {
		size_t length = input_number(&in), some;
		if (length & 0x8000)
			fetch_replies(&w);
		const uint8_t *at = input_take(&in, length & 0x7fff, &some);
		world_receive(&w, 0, at, some);
	}
	fetch_replies(&w);
	check_close(&w.sockets[0]);
	head_fini(&head);
	world_fini(&w);
	return 0;
}
