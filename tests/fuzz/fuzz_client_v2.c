/* A tunnel of protocol v2 at the client: messages from a hostile broker, and an app that
 * answers, reads, waits and ends in between. Each step is one byte that says what, and its
 * operands. */
#include "client/session.h"

#include "common/frame.h"
#include "common/head.h"
#include "tests/fuzz/fetch_stub.h"

static int closed_code;
static int64_t now_ms;

static int64_t clock_of_test(void *ctx)
{
	(void)ctx;
	return now_ms;
}

/* What is wrong about one stream costs that stream. */
static bool is_of_the_tunnel(const char *reason)
{
	static const char *const reasons[] = {"malformed frame", "HELLO expected",
					      "HELLO of version 2 expected", "OPEN of stream 0",
					      "too much is waiting to be read"};

	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (strcmp(reason, reasons[i]) == 0)
			return true;
	}
	return false;
}

static void on_close(void *ctx, int code, const char *reason)
{
	(void)ctx;
	CHECK(is_of_the_tunnel(reason));
	CHECK(closed_code == 0 && code >= 1000 && strlen(reason) <= 60);
	closed_code = code;
}

/* What the client sends is well-formed, whatever it was sent. */
static void pull(void *session)
{
	static uint8_t out[SESSION_PULL_BYTES];
	bool first, final;
	struct frame f;
	size_t bytes, used;

	while ((bytes = session_v2.pull(session, out, &first, &final)) > 0) {
		CHECK(first && final && bytes <= sizeof out);
		for (const uint8_t *at = out; bytes > 0; at += used, bytes -= used) {
			const uint8_t *head, *body;
			size_t head_bytes, body_bytes;
			CHECK(frame_get(at, bytes, &f, &used) == 1);
			if (f.type == FRAME_HEAD)
				CHECK(frame_split_head(&f, &head, &head_bytes, &body, &body_bytes));
			if (f.type == FRAME_HELLO)
				CHECK(f.stream == 0 && head_valid(f.payload, f.payload_bytes));
		}
	}
}

static void app_step(uint8_t what, struct input *in)
{
	struct fetch *f = stub_fetch(input_byte(in));

	if (f == NULL)
		return;
	switch (what % 4) {
	case 0:
		stub_answer_head(f);
		break;
	case 1:
		(void)stub_answer_data(f, input_number(in) % 40000);
		break;
	case 2:
		(void)stub_read_body(f, input_number(in) % 20000);
		break;
	default:
		stub_end(f, (enum fail)(input_byte(in) % FAIL_COUNT));
		break;
	}
}

/* A frame with a payload of the input's, or of zeros: large ones need no large input. */
static void frame_step(void *session, struct input *in)
{
	uint8_t type = input_byte(in), flags = input_byte(in), stream = input_byte(in);
	size_t zeros = type & 128 ? input_number(in) : 0, bytes;
	const uint8_t *payload = input_take(in, input_byte(in), &bytes);
	uint8_t *frame = xcalloc(1, FRAME_HEADER_BYTES + bytes + zeros);

	frame_put_header(frame, type & 15, flags, stream, bytes + zeros);
	if (bytes > 0)
		memcpy(frame + FRAME_HEADER_BYTES, payload, bytes);
	session_v2.receive(session, frame, FRAME_HEADER_BYTES + bytes + zeros);
	free(frame);
}

/* OPEN with a head that can be served. */
static void open_step(void *session, struct input *in)
{
	uint8_t stream = input_byte(in), flags = input_byte(in);
	struct head head = {0};

	head_add(&head, ":method", "POST");
	head_add(&head, ":target", "/");
	if (flags & 2)
		head_add(&head, ":upgrade", "websocket");
	size_t payload_bytes = 4 + head.bytes + (flags & 4 ? 9 : 0);
	uint8_t *frame = xcalloc(1, FRAME_HEADER_BYTES + payload_bytes);
	frame_put_header(frame, FRAME_OPEN, flags & FRAME_END, stream, payload_bytes);
	put_be32(frame + FRAME_HEADER_BYTES, (uint32_t)head.bytes);
	memcpy(frame + FRAME_HEADER_BYTES + 4, head.data, head.bytes);
	session_v2.receive(session, frame, FRAME_HEADER_BYTES + payload_bytes);
	free(frame);
	head_fini(&head);
}

static void hello_step(void *session, const char *window)
{
	struct head head = {0};
	uint8_t frame[128];

	head_add(&head, "version", "2");
	head_add(&head, "window", window);
	frame_put_header(frame, FRAME_HELLO, 0, 0, head.bytes);
	memcpy(frame + FRAME_HEADER_BYTES, head.data, head.bytes);
	session_v2.receive(session, frame, FRAME_HEADER_BYTES + head.bytes);
	head_fini(&head);
}

static void message_step(void *session, struct input *in)
{
	size_t bytes;
	const uint8_t *at = input_take(in, input_number(in) % 512, &bytes);
	uint8_t *message = copy_of(at, bytes);

	session_v2.receive(session, message, bytes);
	free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct window_budget windows = {.total_bytes = 2 << 20};
	const struct session_socket socket = {
		.close = on_close, .instance = "i", .now_ms = clock_of_test, .windows = &windows};
	struct input in = {data, bytes};

	closed_code = 0;
	now_ms = 1000;
	void *session = session_v2.open(NULL, &socket);
	while (in.left > 0 && closed_code == 0) {
		uint8_t step = input_byte(&in);
		now_ms += step & 15;
		switch (step >> 4) {
		case 0:
			message_step(session, &in);
			break;
		case 1:
			hello_step(session, step & 1 ? "65536" : "2147483647");
			break;
		case 2:
		case 3:
			open_step(session, &in);
			break;
		case 4:
		case 5:
			frame_step(session, &in);
			break;
		case 6:
			session_v2.drain(session);
			break;
		case 7:
			(void)session_v2.is_idle(session);
			(void)session_v2.expects_more(session);
			break;
		case 8:
		case 9:
			session_v2.resume(session);
			pull(session);
			break;
		default:
			app_step(step, &in);
			break;
		}
	}
	session_v2.resume(session);
	pull(session);
	CHECK(windows.used_bytes >= 0 && windows.used_bytes <= windows.total_bytes);
	session_v2.free(session);
	CHECK(stub_fetch_count == 0 && windows.used_bytes == 0);
	return 0;
}
