/* A local app's answer, given whole and given in pieces to an owner who stops now and then: both
 * come to the same. The first byte says what is asked, the second how large the pieces are. */
#include "client/response_parser.h"

#include "common/buf.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

enum { STALLS = 4 };

static const struct target target = {.url = "http://localhost:3000/base"};
static struct host_hint hint;

struct taken {
	bool stalls, stalled;
	size_t heads, pieces;
	struct head head;
	struct buf body;
	enum response_state state;
	int status;
	bool keeps_open;
	size_t left; /* behind the answer */
};

static void on_head(void *ctx, const struct head *h)
{
	struct taken *t = ctx;
	struct head_reader r;
	struct head_field f;
	int more;

	CHECK(t->heads++ == 0 && h->bytes <= 2 * HEAD_MAX_BYTES);
	head_append(&t->head, h);
	head_reader_init(&r, h->data, h->bytes);
	while ((more = head_next(&r, &f)) == 1) {
		bool pseudo = *f.name == ':';
		CHECK(http_token_valid(f.name + pseudo, f.name_bytes - pseudo));
		CHECK(http_value_valid(f.value, f.value_bytes) && !http_hop_by_hop(&f));
	}
	CHECK(more == 0);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct taken *t = ctx;

	CHECK(t->heads == 1 && !t->stalled && bytes > 0);
	buf_append(&t->body, data, bytes);
	t->stalled = t->stalls && t->pieces++ % 2 == 0;
	return !t->stalled;
}

/* A piece, to the end of it. How much of it was not taken. */
static size_t give(struct response_parser *a, struct taken *t, const uint8_t *at, size_t bytes)
{
	uint8_t *piece = copy_of(at, bytes);
	size_t used, done = 0;

	do {
		t->stalled = false;
		t->state = response_parser_feed(a, piece + done, bytes - done, &used);
		CHECK(used <= bytes - done && t->stalled == (t->state == RESPONSE_STALLED));
		done += used;
	} while (t->state == RESPONSE_STALLED);
	CHECK(t->state != RESPONSE_GOING || done == bytes);
	free(piece);
	return bytes - done;
}

static void run(struct response_parser *a, enum response_to to, struct taken *t, struct input in,
		size_t piece_bytes)
{
	size_t bytes;

	response_parser_begin(a, to, &(struct response_events){on_head, on_data}, t);
	while (t->state == RESPONSE_GOING && in.left > 0) {
		const uint8_t *at = input_take(&in, piece_bytes, &bytes);
		t->left = give(a, t, at, bytes);
	}
	t->left += in.left;
	if (t->state == RESPONSE_GOING)
		t->state = response_parser_end(a);
	t->status = response_parser_status(a);
	t->keeps_open = response_parser_keeps_open(a);
	CHECK(t->state == RESPONSE_COMPLETE || t->state == RESPONSE_SWITCHED ||
	      t->state == RESPONSE_CUT || t->state == RESPONSE_BAD);
	CHECK((t->heads == 1) == (t->status != 0) && (t->status == 0 || t->status >= 101));
	CHECK(t->state != RESPONSE_SWITCHED || (to == RESPONSE_TO_HANDSHAKE && t->status == 101));
	CHECK(t->state != RESPONSE_COMPLETE || t->status >= 200);
}

static void compare(const struct taken *a, const struct taken *b)
{
	CHECK(a->state == b->state && a->status == b->status && a->keeps_open == b->keeps_open);
	CHECK(a->state == RESPONSE_BAD || a->left == b->left);
	CHECK(a->head.bytes == b->head.bytes && buf_bytes(&a->body) == buf_bytes(&b->body));
	CHECK(a->heads == 0 || memcmp(a->head.data, b->head.data, a->head.bytes) == 0);
	CHECK(buf_bytes(&a->body) == 0 ||
	      memcmp(buf_first(&a->body), buf_first(&b->body), buf_bytes(&a->body)) == 0);
}

static void fini(struct taken *t)
{
	head_fini(&t->head);
	buf_fini(&t->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes < HEAD_MAX_BYTES ? bytes : HEAD_MAX_BYTES};
	uint8_t how = input_byte(&in);
	size_t piece_bytes = (size_t)1 + input_byte(&in);
	enum response_to to = (enum response_to)(how % 3);
	struct taken whole = {0}, pieces = {.stalls = how & STALLS};
	struct response_parser *a = response_parser_new(&target, &hint);

	run(a, to, &whole, in, SIZE_MAX);
	run(a, to, &pieces, in, piece_bytes);
	compare(&whole, &pieces);
	response_parser_destroy(&a);
	fini(&whole);
	fini(&pieces);
	return 0;
}
