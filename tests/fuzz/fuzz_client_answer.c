/* A local app's answer, given whole and given in pieces to an owner who stops now and then: both come to the same.
 * The first byte says what is asked, the second how large the pieces are. */
#include "client/answer.h"

#include "common/buf.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

enum { STALLS = 4 };

static const struct settings settings = {.target = {.url = "http://localhost:3000/base"}};

struct taken {
	bool stalls, stalled;
	size_t heads, pieces;
	struct head head;
	struct buf body;
	enum answer_state state;
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
static size_t give(struct answer *a, struct taken *t, const uint8_t *at, size_t bytes)
{
	uint8_t *piece = copy_of(at, bytes);
	size_t used, done = 0;

	do {
		t->stalled = false;
		t->state = answer_take(a, piece + done, bytes - done, &used);
		CHECK(used <= bytes - done && t->stalled == (t->state == ANSWER_STALLED));
		done += used;
	} while (t->state == ANSWER_STALLED);
	CHECK(t->state != ANSWER_GOING || done == bytes);
	free(piece);
	return bytes - done;
}

static void run(struct answer *a, enum answer_to to, struct taken *t, struct input in,
		size_t piece_bytes)
{
	size_t bytes;

	answer_begin(a, to, &(struct answer_events){on_head, on_data}, t);
	while (t->state == ANSWER_GOING && in.left > 0) {
		const uint8_t *at = input_take(&in, piece_bytes, &bytes);
		t->left = give(a, t, at, bytes);
	}
	t->left += in.left;
	if (t->state == ANSWER_GOING)
		t->state = answer_end(a);
	t->status = answer_status(a);
	t->keeps_open = answer_keeps_open(a);
	CHECK(t->state == ANSWER_COMPLETE || t->state == ANSWER_SWITCHED ||
	      t->state == ANSWER_CUT || t->state == ANSWER_BAD);
	CHECK((t->heads == 1) == (t->status != 0) && (t->status == 0 || t->status >= 101));
	CHECK(t->state != ANSWER_SWITCHED || (to == ANSWER_TO_HANDSHAKE && t->status == 101));
	CHECK(t->state != ANSWER_COMPLETE || t->status >= 200);
}

static void compare(const struct taken *a, const struct taken *b)
{
	CHECK(a->state == b->state && a->status == b->status && a->keeps_open == b->keeps_open);
	CHECK(a->state == ANSWER_BAD || a->left == b->left);
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
	enum answer_to to = (enum answer_to)(how % 3);
	struct taken whole = {0}, pieces = {.stalls = how & STALLS};
	struct answer *a = answer_new(&settings);

	run(a, to, &whole, in, SIZE_MAX);
	run(a, to, &pieces, in, piece_bytes);
	compare(&whole, &pieces);
	answer_destroy(&a);
	fini(&whole);
	fini(&pieces);
	return 0;
}
