/* A caller's WebSocket at the client: what a local app may say to a handshake, in pieces, with
 * an owner that takes some of it. The first byte chooses what the others do. */
#include "client/app_websocket.h"

#include "client/conn.h"
#include "client/host_hint.h"
#include "client/connect_queue.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

struct fetch_engine {
	int nothing;
};

struct conn {
	const struct conn_events *events;
	void *ctx;
};

static struct fetch_engine origin;
static struct conn *conn; /* the one that is open */
static struct input answer;
static uint8_t how;
static int heads, ends;
static bool closed, relays, stalled;
static size_t given_bytes, waits;

static const struct target target = {
	.url = "http://localhost/base", .authority = "localhost", .base = "/base"};
static struct host_hint hint;

const struct target *fetch_engine_target(const struct fetch_engine *o)
{
	(void)o;
	return &target;
}

struct host_hint *fetch_engine_host_hint(struct fetch_engine *o)
{
	(void)o;
	return &hint;
}

struct dialer *fetch_engine_dialer(struct fetch_engine *o)
{
	(void)o;
	return NULL;
}

struct connect_queue *fetch_engine_queue(struct fetch_engine *o)
{
	(void)o;
	return NULL;
}

static struct connect_entry *waiting;

void connect_queue_join(struct connect_queue *q, struct connect_entry *e,
			const struct connect_events *callbacks, void *ctx)
{
	(void)q;
	e->events = callbacks;
	e->ctx = ctx;
	waiting = e;
}

void connect_queue_leave(struct connect_entry *e)
{
	(void)e;
	waiting = NULL;
}

struct conn *conn_open(struct dialer *dialer, const struct conn_events *callbacks, void *ctx)
{
	struct conn *w = xcalloc(1, sizeof *w);

	(void)dialer;
	w->events = callbacks;
	w->ctx = ctx;
	conn = w;
	return w;
}

ssize_t conn_read(struct conn *w, void *out, size_t bytes)
{
	size_t got;

	(void)w;
	if (answer.left == 0)
		return how & 1 ? CONN_END : how & 2 ? CONN_BROKEN : CONN_WAIT;
	if (how & 4 && waits++ % 2 == 0)
		return CONN_WAIT;
	size_t most = how & 8 ? (size_t)1 + (how >> 4) : bytes;
	const uint8_t *at = input_take(&answer, most < bytes ? most : bytes, &got);
	memcpy(out, at, got);
	return (ssize_t)got;
}

ssize_t conn_write(struct conn *w, const void *data, size_t bytes)
{
	(void)w;
	CHECK(bytes > 0 && data != NULL);
	return how & 4 && waits++ % 2 == 0 ? CONN_WAIT : (ssize_t)bytes;
}

void conn_watch(struct conn *w, bool read, bool write)
{
	(void)w;
	(void)read;
	(void)write;
}

bool conn_end_writing(struct conn *w)
{
	(void)w;
	return how & 16;
}

const char *conn_why(const struct conn *w)
{
	(void)w;
	return "";
}

void conn_close(struct conn **wp)
{
	free(*wp);
	*wp = NULL;
	closed = true;
}

static void on_connected(void *ctx)
{
	(void)ctx;
}

static void on_head(void *ctx, const struct head *h)
{
	struct head_reader reader;
	struct head_field f;
	int more;

	(void)ctx;
	CHECK(heads++ == 0 && ends == 0 && head_find(h->data, h->bytes, ":status", &f));
	relays = memcmp(f.value, "101", 3) == 0;
	CHECK(relays || f.value[0] >= '2');
	head_reader_init(&reader, h->data, h->bytes);
	while ((more = head_next(&reader, &f)) == 1)
		CHECK(http_value_valid(f.value, f.value_bytes) && !http_hop_by_hop(&f));
	CHECK(more == 0);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	(void)ctx;
	CHECK(heads == 1 && ends == 0 && bytes > 0 && data != NULL);
	CHECK(!stalled);
	given_bytes += bytes;
	stalled = how & 32 && waits++ % 3 == 0;
	return !stalled;
}

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	(void)ctx;
	CHECK(relays && ends == 0);
	if (how & 64)
		return waits++ % 2 == 0 ? FETCH_WAIT : FETCH_END;
	if (waits++ > 10)
		return FETCH_WAIT;
	memset(out, 'x', bytes);
	return (ssize_t)bytes;
}

static void on_end(void *ctx, enum fail f, bool maybe_delivered)
{
	(void)ctx;
	(void)maybe_delivered;
	CHECK(ends++ == 0 && (f != FAIL_NONE || heads == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct fetch_events events = {on_connected, on_head, on_data, on_body, on_end};
	struct input in = {data, bytes};
	struct head head = {0};

	how = input_byte(&in);
	answer = in;
	heads = ends = 0;
	closed = relays = stalled = false;
	given_bytes = waits = 0;
	head_add(&head, ":method", "GET");
	head_add(&head, ":target", "/x");
	head_add(&head, ":upgrade", "websocket");
	head_add(&head, "host", "public.example");
	enum fail why;
	struct app_websocket *u =
		app_websocket_start(&origin, head.data, head.bytes, &events, NULL, &why);
	head_fini(&head);
	CHECK(u != NULL);
	waiting->events->connect(waiting->ctx);
	const struct conn_events *conn_events = conn->events;
	void *ctx = conn->ctx;
	conn_events->connected(ctx);
	for (int i = 0; i < 50 && ends == 0; i++) {
		if (i % 2 == 0) {
			conn_events->ready(ctx);
		} else {
			stalled = false;
			app_websocket_resume(u, true, true);
		}
	}
	CHECK(given_bytes <= bytes);
	if (ends == 0)
		app_websocket_cancel(&u);
	CHECK(closed);
	return 0;
}
