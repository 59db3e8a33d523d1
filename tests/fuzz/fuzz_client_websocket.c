/* Frames of a hostile server, whole and in pieces of the first byte's size: both come to the
 * same, and nothing that comes out breaks a rule. */
#include "client/websocket.h"

#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 70000 };

struct taken {
	struct buf all;
	size_t messages;
	bool closed;
	int code;
};

static void note(struct taken *t, char what, const uint8_t *data, size_t bytes)
{
	CHECK(!t->closed && t->code == 0);
	buf_append(&t->all, &what, 1);
	buf_append(&t->all, &bytes, sizeof bytes);
	buf_append(&t->all, data, bytes);
}

static void on_message(void *ctx, const uint8_t *data, size_t bytes)
{
	struct taken *t = ctx;

	CHECK(bytes <= MOST);
	note(t, 'm', data, bytes);
	t->messages++;
}

static void on_ping(void *ctx, const uint8_t *payload, size_t bytes)
{
	CHECK(bytes <= WEBSOCKET_CONTROL_BYTES);
	note(ctx, 'p', payload, bytes);
}

static void on_closed(void *ctx, int code, const uint8_t *reason, size_t bytes)
{
	struct taken *t = ctx;

	CHECK(code >= 1000 && code < 5000 && bytes <= WEBSOCKET_CONTROL_BYTES - 2);
	CHECK(utf8_valid((const char *)reason, bytes));
	note(t, 'c', reason, bytes);
	t->closed = true;
}

static const struct websocket_events events = {on_message, on_ping, on_closed};

static void run(struct taken *t, struct input in, size_t piece_bytes)
{
	struct websocket w;
	const char *why = "";
	size_t bytes;

	websocket_init(&w, MOST, &events, t);
	while (in.left > 0 && t->code == 0) {
		const uint8_t *at = input_take(&in, piece_bytes, &bytes);
		uint8_t *piece = copy_of(at, bytes);
		t->code = websocket_receive(&w, piece, bytes, &why);
		free(piece);
		CHECK(buf_bytes(&w.message) <= MOST);
	}
	CHECK(t->code == 0 || t->code == 1002 || t->code == 1007 || t->code == 1009);
	CHECK((t->code != 0) == (*why != '\0'));
	websocket_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	size_t piece_bytes = (size_t)1 + input_byte(&in);
	struct taken whole = {0}, pieces = {0};

	run(&whole, in, SIZE_MAX);
	run(&pieces, in, piece_bytes);
	CHECK(whole.code == pieces.code && whole.closed == pieces.closed);
	CHECK(buf_bytes(&whole.all) == buf_bytes(&pieces.all));
	CHECK(buf_bytes(&whole.all) == 0 ||
	      memcmp(buf_first(&whole.all), buf_first(&pieces.all), buf_bytes(&whole.all)) == 0);
	buf_fini(&whole.all);
	buf_fini(&pieces.all);
	return 0;
}
