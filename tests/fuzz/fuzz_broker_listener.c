/* Bytes from a stranger at the broker's listener, over a socket: HTTP heads, and what they are
 * answered. The first byte says after how many bytes the stranger makes a pause. */
#include "broker/admission.h"
#include "broker/listener.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct config config = {
	.jwt_secret = "a secret for tests",
	.jwt_algorithms = {KEY_HS256},
	.jwt_algorithm_count = 1,
	.jwt_issuer = "pipegate",
	.jwt_audience = "pipegate",
};

static struct auth auth = {.config = &config};
static struct admission front = {.auth = &auth};
static uv_loop_t loop;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char directory[] = "/tmp/pipegate-fuzz-XXXXXX";
static size_t handled, adopted;

/* Stands in for broker/ws.c: a WebSocket would be here. */
void ws_adopt(struct ws *ws, int fd, struct ws_handshake *handshake)
{
	(void)ws;
	CHECK(strlen(handshake->key) == 24);
	CHECK(handshake->auth != AUTH_OK); /* no input has a token of ours */
	adopted++;
	free(handshake);
	close(fd);
}

static bool is_one_of(const struct head_field *f, const char *const *names)
{
	while (*names != NULL && !field_is(f, *names))
		names++;
	return *names != NULL;
}

/* What an app may see of a caller's handshake. */
static void check_head(const struct head *h)
{
	static const char *const ours[] = {"x-pipegate-correlation-id",
					   "x-forwarded-for",
					   "x-forwarded-proto",
					   "x-forwarded-host",
					   "x-forwarded-port",
					   "x-forwarded-prefix",
					   "forwarded",
					   NULL};
	struct head_reader reader;
	struct head_field f;
	size_t forwarding = 0, hosts = 0;
	int more;

	head_reader_init(&reader, h->data, h->bytes);
	while ((more = head_next(&reader, &f)) == 1) {
		CHECK(*f.name == ':' || http_token_valid(f.name, f.name_bytes));
		CHECK(http_value_valid(f.value, f.value_bytes) && !http_hop_by_hop(&f));
		hosts += http_name_is(&f, "host");
		if (http_is_forwarding(&f))
			CHECK(is_one_of(&f, ours) && ++forwarding <= 7);
		/* A tunnel's token goes to no app. */
		if (field_is(&f, "authorization") && f.value_bytes > 7 &&
		    strncasecmp(f.value, "bearer ", 7) == 0)
			CHECK(!auth_is_ours(&auth, f.value + 7, f.value_bytes - 7));
		CHECK(!field_is(&f, "sec-websocket-protocol") ||
		      memmem(f.value, f.value_bytes, ",pipegate.v2,", 13) == NULL);
	}
	CHECK(more == 0 && hosts == 1);
}

/* Stands in for broker/ws_relay.c: a caller's WebSocket would be here. */
void ws_relay_begin(struct ws_relays *u, int fd, struct ws_request *caller, const void *data,
		    size_t bytes)
{
	struct head_field f;

	(void)u;
	(void)data;
	CHECK(bytes <= LISTENER_REQUEST_MAX_BYTES && caller->fail == FAIL_NONE);
	CHECK(head_valid(caller->head.data, caller->head.bytes) && *caller->id != '\0');
	CHECK(head_find(caller->head.data, caller->head.bytes, ":target", &f) && *f.value == '/');
	CHECK(http_value_valid(f.value, f.value_bytes));
	check_head(&caller->head);
	ws_request_free(caller);
	adopted++;
	close(fd);
}

static void on_request(void *ctx, const struct listener_request *r, struct listener_response *out)
{
	handled++;
	CHECK(r->method != NULL && r->path.bytes > 0 &&
	      r->header_count <= LISTENER_REQUEST_FIELDS_MAX);
	for (size_t i = 0; i < r->header_count; i++) {
		const struct listener_header *h = &r->headers[i];
		CHECK(h->name.bytes > 0 && memchr(h->name.at, ':', h->name.bytes) == NULL);
		CHECK(http_value_valid(h->name.at, h->name.bytes)); /* a blank is overlooked */
		CHECK(memchr(h->value.at ? h->value.at : "", '\n', h->value.bytes) == NULL);
	}
	CHECK(memchr(r->path.at, '?', r->path.bytes) == NULL);
	admission_on_request(ctx, r, out);
}

static void remove_directory(void)
{
	unlink(address.sun_path);
	rmdir(directory);
}

static void start(void)
{
	char spec[64], fault[200];

	auth.keys = keyring_load(&config, fault, sizeof fault);
	CHECK(auth.keys != NULL);
	signal(SIGPIPE, SIG_IGN);
	CHECK(uv_loop_init(&loop) == 0 && mkdtemp(directory) != NULL);
	CHECK(snprintf(address.sun_path, 50, "%s/socket", directory) < 50);
	CHECK(snprintf(spec, sizeof spec, "unix:%s/socket", directory) < (int)sizeof spec);
	atexit(remove_directory);
	front.hub = hub_new(&config, 0);
	CHECK(listener_new(&loop, spec, "listener", NULL, on_request, &front) != NULL);
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes < 40000 ? bytes : 40000};
	size_t first_bytes = input_byte(&in), some;
	char answer[2048];

	if (front.hub == NULL)
		start();
	handled = adopted = 0;
	int peer = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(connect(peer, (const struct sockaddr *)&address, sizeof address) == 0);
	const uint8_t *at = input_take(&in, first_bytes, &some);
	(void)!send(peer, at, some, 0);
	turn();
	(void)!send(peer, in.at, in.left, 0);
	turn();
	ssize_t got = recv(peer, answer, sizeof answer, MSG_DONTWAIT);
	CHECK(handled <= 1 && adopted <= handled);
	if (handled == 1 && adopted == 0)
		CHECK(got > 12);
	if (got > 0 && handled == 0)
		CHECK(memmem(answer, (size_t)got, "x-pipegate-error: bad-request", 29) != NULL);
	if (got > 0)
		CHECK(got > 12 && memcmp(answer, "HTTP/1.1 ", 9) == 0 && adopted == 0);
	close(peer);
	turn();
	return 0;
}
