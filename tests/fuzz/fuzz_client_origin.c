/* What a local app answers, byte for byte, over a socket. The first byte says what is
 * asked and how the answer is taken, the second after how many bytes the app makes a pause. */
#include "client/origin.h"

#include "common/http.h"
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD_METHOD = 1, UPLOADS = 2, STALLS = 4, TURNS_MAX = 2000 };

static uv_loop_t loop;
static uv_timer_t guard; /* no turn of the loop takes long */
static struct settings settings;
static struct origin *origin;
static char directory[] = "/tmp/pipegate-fuzz-XXXXXX";
static char path[40];
static int listener;

struct taken {
	uint8_t how;
	bool headed, ended, stalled;
	enum fail fail;
	long long declared_bytes; /* -1: not declared */
	long long bytes;
	size_t asked;
};

static void on_head(void *ctx, const struct head *h)
{
	struct taken *t = ctx;
	struct head_reader r;
	struct head_field f;
	long long status;
	size_t lengths = 0;
	int more;

	CHECK(!t->headed && !t->ended && h->bytes <= HEAD_MAX_BYTES + 4096);
	t->headed = true;
	CHECK(head_find(h->data, h->bytes, ":status", &f));
	CHECK(http_length_parse(f.value, f.value_bytes, &status) && status >= 200 && status <= 599);
	bool bodiless = (t->how & HEAD_METHOD) || status == 204 || status == 304;
	head_reader_init(&r, h->data, h->bytes);
	while ((more = head_next(&r, &f)) == 1) {
		bool pseudo = *f.name == ':';
		CHECK(http_token_valid(f.name + pseudo, f.name_bytes - pseudo));
		CHECK(http_value_valid(f.value, f.value_bytes) && !http_hop_by_hop(&f));
		if (!bodiless && field_is(&f, "content-length") &&
		    (lengths++ > 0 ||
		     !http_length_parse(f.value, f.value_bytes, &t->declared_bytes)))
			t->declared_bytes =
				-1; /* the responder refuses two, and what is no number */
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
	char target[64];

	signal(SIGPIPE, SIG_IGN);
	CHECK(mkdtemp(directory) != NULL && uv_loop_init(&loop) == 0);
	CHECK(snprintf(path, sizeof path, "%s/app", directory) < (int)sizeof path);
	strcpy(address.sun_path, path);
	atexit(remove_directory);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(listener >= 0);
	CHECK(bind(listener, (const struct sockaddr *)&address, sizeof address) == 0);
	CHECK(listen(listener, 8) == 0);
	snprintf(target, sizeof target, "unix:%s", path);
	CHECK(target_read(&settings.target, target));
	origin = origin_new(&loop, &settings);
	uv_timer_init(&loop, &guard);
	uv_timer_start(&guard, on_guard, 1, 1);
}

/* The app: takes a connection, reads what there is, answers in two pieces, closes. */
static void app_turn(int *fd, struct input *in, size_t *first_bytes)
{
	char request[4096];
	size_t some;

	if (*fd < 0 && in->at != NULL)
		*fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (*fd < 0 || recv(*fd, request, sizeof request, 0) == 0)
		return;
	const uint8_t *at = input_take(in, *first_bytes, &some);
	*first_bytes = SIZE_MAX;
	if (some > 0)
		(void)!send(*fd, at, some, 0);
	if (in->left == 0 && in->at != NULL) {
		shutdown(*fd, SHUT_RDWR);
		close(*fd);
		*fd = -1;
		in->at = NULL;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes < 100000 ? bytes : 100000};
	struct taken t = {.how = input_byte(&in), .declared_bytes = -1};
	static const struct fetch_events events = {on_head, on_data, on_body, on_end};
	size_t first_bytes = input_byte(&in);
	struct head head = {0};
	int app = -1;

	if (origin == NULL)
		start();
	head_add(&head, ":method", t.how & HEAD_METHOD ? "HEAD" : "POST");
	head_add(&head, ":target", "/x");
	struct fetch *f = fetch_start(origin, head.data, head.bytes,
				      t.how & UPLOADS ? FETCH_BODY : FETCH_NO_BODY, &events, &t);
	CHECK(f != NULL);
	for (int i = 0; i < TURNS_MAX && !t.ended; i++) {
		app_turn(&app, &in, &first_bytes);
		uv_run(&loop, i < 100 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
		if (t.stalled) {
			t.stalled = false;
			fetch_resume(f, false, true);
		}
	}
	CHECK(t.ended && (t.fail != FAIL_NONE || t.headed));
	if (t.fail == FAIL_NONE && t.declared_bytes >= 0)
		CHECK(t.bytes == t.declared_bytes); /* nothing is taken for whole that is not */
	if (app >= 0)
		close(app);
	while ((app = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		close(app);
	head_fini(&head);
	return 0;
}
