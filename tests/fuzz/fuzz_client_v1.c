/* A message of protocol v1 at the client: a request in JSON. It is read, and then served by a
 * session whose app is a stand-in, or refused. */
#include "client/v1.h"

#include "client/session.h"
#include "common/http.h"
#include "tests/fuzz/fetch_stub.h"

#include <jansson.h>

static void check_request(const struct v1_request *r)
{
	struct head_field f;
	long long length;

	CHECK(strlen(r->correlation_id) <= 64);
	CHECK(head_valid(r->head.data, r->head.bytes));
	CHECK(head_find(r->head.data, r->head.bytes, ":method", &f));
	CHECK(head_find(r->head.data, r->head.bytes, ":target", &f));
	CHECK(f.value_bytes > 0 && *f.value == '/');
	for (size_t i = 0; i < f.value_bytes; i++) /* it has no byte that a URL cannot have */
		CHECK(f.value[i] > ' ' && f.value[i] < 0x7f && f.value[i] != '#');
	if (head_find(r->head.data, r->head.bytes, ":length", &f))
		CHECK(http_length_parse(f.value, f.value_bytes, &length) &&
		      (size_t)length == r->body_bytes);
	else
		CHECK(r->body_bytes == 0);
}

static void on_close(void *ctx, int code, const char *reason)
{
	(void)ctx;
	(void)code;
	(void)reason;
	CHECK(!"v1 never closes its tunnel");
}

/* All that the session has to send is one whole message: an answer of the protocol. */
static void check_answer(void *session, const char *correlation_id)
{
	static uint8_t piece[SESSION_PULL_BYTES];
	struct buf message = {0};
	bool first, final = false, begun = false;
	size_t bytes;

	while ((bytes = session_v1.pull(session, piece, &first, &final)) > 0) {
		CHECK(first == !begun);
		begun = true;
		buf_append(&message, piece, bytes);
	}
	CHECK(begun && final && message.data != NULL);
	json_t *answer =
		json_loadb((const char *)buf_first(&message), buf_bytes(&message), 0, NULL);
	const char *id = json_string_value(json_object_get(answer, "correlation_id"));
	CHECK(id != NULL && strcmp(id, correlation_id) == 0);
	CHECK(json_is_integer(json_object_get(answer, "status_code")));
	CHECK(json_is_string(json_object_get(answer, "headers")));
	CHECK(json_is_string(json_object_get(answer, "body")));
	json_decref(answer);
	buf_fini(&message);
}

/* `good`: it is for the app. */
static void serve(const uint8_t *data, size_t bytes, const char *correlation_id, bool good)
{
	const struct session_socket socket = {.close = on_close};
	void *session = session_v1.open(NULL, &socket);
	struct fetch *f;

	session_v1.receive(session, data, bytes);
	CHECK(!session_v1.is_idle(session));
	CHECK(good || stub_fetch_count == 0);
	if ((f = stub_fetch(0)) != NULL) {
		ssize_t got;
		while ((got = stub_read_body(f, 1 + bytes % 50)) > 0)
			;
		CHECK(got == FETCH_END);
		(void)stub_answer_data(f, bytes % 100);
		if (bytes % 7 != 0) {
			stub_end(f, bytes % 5 == 0 ? FAIL_TARGET_UNREACHABLE : FAIL_NONE);
			check_answer(session, correlation_id);
		}
	} else {
		check_answer(session, correlation_id);
	}
	session_v1.free(session);
	CHECK(stub_fetch_count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct v1_request r = {0};
	bool good = v1_request_read(&r, data, bytes);

	CHECK(!good || r.correlation_id != NULL);
	if (good)
		check_request(&r);
	if (r.correlation_id != NULL)
		serve(data, bytes, r.correlation_id, good);
	v1_request_fini(&r);
	return 0;
}
