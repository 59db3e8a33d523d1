/* Protocol v1 at the broker. The first byte says which way: a client's answer, as it comes, to a
 * request that runs; or a request's head, as lines, and its body, on their way to the client. */
#include "broker/core/v1_response.h"
#include "common/b64.h"
#include "common/rewrite.h"
#include "tests/fuzz/lines.h"
#include "tests/fuzz/world.h"

#include <jansson.h>

/* The decoder against what jansson makes of the whole message: they agree on what is valid, and
 * what it says. */
static void compare(const struct input *in)
{
	json_t *json = json_loadb((const char *)in->at, in->left,
				  JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	const json_t *body = json_object_get(json, "body");
	const json_t *status = json_object_get(json, "status_code");
	const json_t *headers = json_object_get(json, "headers");
	size_t bytes = 0;
	uint8_t *data = json_is_string(body) ? b64_decode(json_string_value(body),
							  json_string_length(body), &bytes)
					     : NULL;
	struct buf message = {0};
	struct v1_response r;

	buf_append(&message, in->at, in->left);
	v1_response_decode(&r, &message);
	CHECK(message.data == NULL);
	if (r.fault != NULL && strncmp(r.fault, "too deep", 8) == 0) {
		CHECK(json == NULL || in->left > 16);
	} else if (r.fault == NULL) {
		CHECK(r.has_corr && json_number_value(status) == r.status &&
		      json_is_string(headers));
		CHECK(data != NULL && buf_bytes(&r.body) == bytes);
		CHECK(bytes == 0 || memcmp(buf_first(&r.body), data, bytes) == 0);
		CHECK(head_valid(buf_first(&r.fields), buf_bytes(&r.fields)));
	} else {
		CHECK(json != NULL || !r.has_corr);
		CHECK(!r.has_corr || data == NULL || !json_is_string(headers) ||
		      json_string_length(headers) > 0 ||
		      !(json_number_value(status) >= 200 && json_number_value(status) <= 599) ||
		      json_number_value(status) != (int)json_number_value(status));
	}
	v1_response_fini(&r);
	free(data);
	json_decref(json);
}

static void answer(struct input *in)
{
	static const struct public_name q = {"/a", "https://pub.example", "00ff", false, false};
	static struct world w;
	struct head head = {0};
	struct response r;
	struct buf out = {0};

	world_init(&w);
	world_connect(&w, 0, &protocol_v1, "a");
	world_request(&head, "GET", "/");
	world_open(&w, 1, "a", &head, GATE_BODY_END, 0);
	world_settle(&w);
	world_receive(&w, 0, in->at, in->left);
	world_settle(&w);
	const struct gate_msg *m = &w.peers[1].last;
	if (!w.peers[1].waiting && !(m->flags & GATE_FAILED)) { /* v1 gives the answer in one */
		CHECK((m->flags & GATE_HAS_HEAD) && head_valid(m->head, m->head_bytes));
		CHECK(m->body_bytes == GATE_PIECE_BYTES || (m->flags & GATE_RESPONSE_END));
		if (rewrite_response(&r, &q, "Status:", m->head, m->head_bytes, &out))
			CHECK(r.bodiless
				      ? m->body_bytes == 0
				      : r.has_length && (r.length_bytes == (int64_t)m->body_bytes ||
							 m->body_bytes % GATE_PIECE_BYTES == 0));
	}
	head_fini(&head);
	buf_fini(&out);
	world_fini(&w);
}

/* A string member that itself holds JSON. */
static json_t *inner(const json_t *message, const char *name)
{
	const json_t *text = json_object_get(message, name);

	CHECK(json_is_string(text));
	return json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
}

static void check_request(const char *text)
{
	static const char *const names[] = {"correlation_id", "url_path", "method", "body"};
	json_t *message = json_loads(text, JSON_ALLOW_NUL, NULL);
	size_t i;
	const char *name;
	json_t *value;

	CHECK(json_object_size(message) == 6);
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		CHECK(json_is_string(json_object_get(message, names[i])));
	json_t *query = inner(message, "url_query"), *headers = inner(message, "headers");
	CHECK(json_is_array(query) && json_is_object(headers));
	json_array_foreach (query, i, value)
		CHECK(json_array_size(value) == 2 && json_is_string(json_array_get(value, 0)) &&
		      json_is_string(json_array_get(value, 1)));
	json_object_foreach (headers, name, value)
		CHECK(json_is_string(value) && *name != ':' && *name != '\0');
	json_decref(query);
	json_decref(headers);
	json_decref(message);
}

static void request(struct input *in)
{
	static struct world w;
	size_t body_bytes = input_number(in) % 5000;
	struct head head = {0};

	head_of_lines(&head, in);
	world_init(&w);
	world_connect(&w, 0, &protocol_v1, "a");
	world_open(&w, 1, "a", &head, GATE_BODY_END, body_bytes);
	world_settle(&w);
	if (buf_bytes(&w.sockets[0].sent) > 0)
		check_request((const char *)buf_first(&w.sockets[0].sent));
	else
		CHECK(!w.peers[1].waiting && (w.peers[1].last.flags & GATE_FAILED));
	head_fini(&head);
	world_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};

	if (input_byte(&in) & 1) {
		request(&in);
	} else {
		compare(&in);
		answer(&in);
	}
	return 0;
}
