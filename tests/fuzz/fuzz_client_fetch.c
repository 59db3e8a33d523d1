/* What a local app answers, byte for byte, over a socket. The first byte says what is
 * asked, on a new connection or a kept one, and how the answer is taken; the second after how
 * many bytes the app makes a pause. */
#include "client/fetch.h"

#include "client/conn_pool.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	HEAD_METHOD = 1,
	UPLOADS = 2,
	STALLS = 4,
	KEPT = 8,
	EXPECTS = 16,
	DECLARES = 32,
	TURNS_MAX = 2000
};

static uv_loop_t loop;
static uv_timer_t guard; /* no turn of the loop takes long */
static struct target target;
static struct fetch_engine *engine;
static char directory[] = "/tmp/pipegate-fuzz-XXXXXX";
static char path[40];
static int listener;

/* Stands in for client/conn_pool.c, which learns: this one keeps what it is given, one
 * connection. */
struct conn_pool {
	struct conn *conn;
};

static struct conn_pool kept;

struct conn_pool *conn_pool_new(uv_loop_t *uv, bool keeps)
{
	(void)uv;
	CHECK(keeps);
	return &kept;
}

bool conn_pool_keeps(const struct conn_pool *p)
{
	(void)p;
	return true;
}

void conn_pool_distrust(struct conn_pool *p, const char *why)
{
	(void)why;
	conn_close(&p->conn);
}

static void on_kept_ready(void *ctx)
{
	(void)ctx;
	conn_pool_distrust(&kept, "");
}

void conn_pool_put(struct conn_pool *p, struct conn **wp, unsigned uses)
{
	static const struct conn_events events = {.ready = on_kept_ready};

	CHECK(uses > 0);
	if (p->conn != NULL || !conn_is_quiet(*wp)) {
		conn_close(wp);
		return;
	}
	p->conn = *wp;
	*wp = NULL;
	conn_hand_over(p->conn, &events, p);
	conn_watch(p->conn, true, false);
}

struct conn *conn_pool_take(struct conn_pool *p, unsigned *uses)
{
	struct conn *w = p->conn;

	if (w != NULL && !conn_is_quiet(w))
		conn_pool_distrust(p, "");
	w = p->conn;
	p->conn = NULL;
	*uses = w != NULL;
	return w;
}

void conn_pool_destroy(struct conn_pool **pp)
{
	conn_pool_distrust(*pp, "");
	*pp = NULL;
}

struct taken {
	uint8_t how;
	bool headed, ended, stalled;
	long long status;
	enum fail fail;
	long long declared_bytes; /* -1: not declared */
	long long bytes;
	size_t asked;
};

static void on_connected(void *ctx)
{
	(void)ctx;
}

static void on_head(void *ctx, const struct head *h)
{
	struct taken *t = ctx;
	struct head_reader r;
	struct head_field f;
	size_t lengths = 0;
	int more;

	CHECK(!t->headed && !t->ended && h->bytes <= HEAD_MAX_BYTES + 4096);
	t->headed = true;
	CHECK(head_find(h->data, h->bytes, ":status", &f));
	CHECK(http_length_parse(f.value, f.value_bytes, &t->status));
	CHECK(t->status >= 200 && t->status <= 599);
	bool bodiless = (t->how & HEAD_METHOD) || t->status == 204 || t->status == 304;
	head_reader_init(&r, h->data, h->bytes);
	while ((more = head_next(&r, &f)) == 1) {
		bool pseudo = *f.name == ':';
		CHECK(http_token_valid(f.name + pseudo, f.name_bytes - pseudo));
		CHECK(http_value_valid(f.value, f.value_bytes) && !http_hop_by_hop(&f));
		/* The responder refuses two, and what is no number. */
		if (!bodiless && field_is(&f, "content-length") &&
		    (lengths++ > 0 ||
		     !http_length_parse(f.value, f.value_bytes, &t->declared_bytes)))
			t->declared_bytes = -1;
	}
	CHECK(more == 0);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct taken *t = ctx;

	CHECK(t->headed && !t->ended && !t->stalled && data != NULL);
	CHECK(bytes > 0 && bytes <= FETCH_PIECE_BYTES);
	t->bytes += (long long)bytes;
	t->stalled = t->how & STALLS;
	return !t->stalled;
}

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	struct taken *t = ctx;

	if (t->asked++ > 2)
		return FETCH_END;
	memset(out, 'x', bytes < 100 ? bytes : 100);
	return bytes < 100 ? (ssize_t)bytes : 100;
}

static void on_end(void *ctx, enum fail f, bool maybe_delivered)
{
	struct taken *t = ctx;

	(void)maybe_delivered;
	CHECK(!t->ended);
	t->ended = true;
	t->fail = f;
}

static void on_guard(uv_timer_t *timer)
{
	(void)timer;
}

static void remove_directory(void)
{
	unlink(path);
	rmdir(directory);
}

static void start(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char url[64];

	signal(SIGPIPE, SIG_IGN);
	CHECK(mkdtemp(directory) != NULL && uv_loop_init(&loop) == 0);
	CHECK(snprintf(path, sizeof path, "%s/app", directory) < (int)sizeof path);
	strcpy(address.sun_path, path);
	atexit(remove_directory);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(listener >= 0);
	CHECK(bind(listener, (const struct sockaddr *)&address, sizeof address) == 0);
	CHECK(listen(listener, 8) == 0);
	snprintf(url, sizeof url, "unix:%s", path);
	CHECK(target_read(&target, url));
	target.keep_alive = true;
	engine = fetch_engine_new(&loop, &target);
	uv_timer_init(&loop, &guard);
	uv_timer_start(&guard, on_guard, 1, 1);
}

struct app {
	int fd;
	bool asked; /* something has come on this connection */
	struct input answer;
	size_t first_bytes;
};

/* Takes a connection, reads what there is, answers in two pieces, closes. */
static void app_turn(struct app *a)
{
	char request[4096];
	size_t some;

	if (a->fd < 0 && a->answer.at != NULL)
		a->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	ssize_t got = a->fd < 0 ? 0 : recv(a->fd, request, sizeof request, 0);
	a->asked = a->asked || got > 0;
	if (got == 0 || !a->asked)
		return;
	const uint8_t *at = input_take(&a->answer, a->first_bytes, &some);
	a->first_bytes = SIZE_MAX;
	if (some > 0)
		(void)!send(a->fd, at, some, 0);
	if (a->answer.left == 0 && a->answer.at != NULL) {
		shutdown(a->fd, SHUT_RDWR);
		close(a->fd);
		a->fd = -1;
		a->answer.at = NULL;
	}
}

static void add_request(struct head *head, uint8_t how)
{
	head_add(head, ":method", how & HEAD_METHOD ? "HEAD" : how & UPLOADS ? "POST" : "GET");
	head_add(head, ":target", "/x");
	if (how & DECLARES)
		head_add(head, ":length", "250");
	if (how & EXPECTS)
		head_add(head, "expect", "100-continue");
}

static void exchange(struct taken *t, struct app *a)
{
	static const struct fetch_events events = {on_connected, on_head, on_data, on_body, on_end};
	struct head head = {0};
	enum fail why;

	add_request(&head, t->how);
	struct fetch *f =
		fetch_start(engine, head.data, head.bytes,
			    t->how & UPLOADS ? FETCH_BODY : FETCH_NO_BODY, &events, t, &why);
	CHECK(f != NULL);
	head_fini(&head);
	for (int i = 0; i < TURNS_MAX && !t->ended; i++) {
		app_turn(a);
		uv_run(&loop, i < 100 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
		if (t->stalled && !t->ended) {
			t->stalled = false;
			fetch_resume(f, false, true);
		}
	}
	CHECK(t->ended && (t->fail != FAIL_NONE || t->headed));
}

/* The connection stays: the same one is used by the next exchange. */
static void exchange_before(struct app *a)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct taken t = {.declared_bytes = -1};
	struct app once = {.fd = -1,
			   .answer = {(const uint8_t *)answer, sizeof answer},
			   /* One byte stays: it does not close. */
			   .first_bytes = sizeof answer - 1};

	exchange(&t, &once);
	CHECK(t.fail == FAIL_NONE && t.bytes == 2 && kept.conn != NULL);
	a->fd = once.fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes < 100000 ? bytes : 100000};
	struct taken t = {.how = input_byte(&in), .declared_bytes = -1};
	struct app app = {.fd = -1, .first_bytes = input_byte(&in)};

	if (engine == NULL)
		start();
	if (t.how & KEPT)
		exchange_before(&app);
	app.answer = in;
	exchange(&t, &app);
	if (t.fail == FAIL_NONE && t.declared_bytes >= 0)
		CHECK(t.bytes == t.declared_bytes); /* nothing is taken for whole that is not */
	/* Nothing of this exchange can follow on a connection that is kept. */
	CHECK(kept.conn == NULL || (t.fail == FAIL_NONE && !(t.how & (HEAD_METHOD | UPLOADS)) &&
				    t.status != 204 && t.status != 304));
	conn_pool_distrust(&kept, "");
	if (app.fd >= 0)
		close(app.fd);
	while ((app.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		close(app.fd);
	return 0;
}
