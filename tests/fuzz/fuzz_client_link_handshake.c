/* A hostile server's response to the tunnel's handshake, whole and in pieces of the first byte's
 * size. The reason that is shown has no control character and no token in it. */
#include "client/link_handshake.h"

#include "tests/fuzz/fuzz.h"

static char path[] = "/", authority[] = "h", token[] = "eyJhbGciOi.secretsecret.x";

static const struct tunnel_server server = {
	.url = {.path = path, .authority = authority},
	.token = token,
};

struct outcome {
	enum link_handshake_state state;
	int status;
	bool v2;
};

static bool is_printable(const char *text)
{
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			return false;
	}
	return true;
}

static struct outcome run(struct input in, size_t piece_bytes)
{
	struct link_handshake *h = link_handshake_new(&server);
	struct outcome o = {.state = HANDSHAKE_GOING};
	size_t bytes, used;

	while (in.left > 0 && o.state == HANDSHAKE_GOING) {
		const uint8_t *at = input_take(&in, piece_bytes, &bytes);
		uint8_t *piece = copy_of(at, bytes);
		o.state = link_handshake_receive(h, piece, bytes, &used);
		free(piece);
		CHECK(used <= bytes);
	}
	if (o.state == HANDSHAKE_GOING)
		o.state = link_handshake_end(h);
	CHECK(o.state == HANDSHAKE_DONE || o.state == HANDSHAKE_FAILED);
	o.status = link_handshake_status(h);
	o.v2 = link_handshake_is_v2(h);
	CHECK(o.state != HANDSHAKE_DONE || o.status == 101);
	if (o.state == HANDSHAKE_FAILED) {
		const char *why = link_handshake_why(h);
		CHECK(*why != '\0' && is_printable(why) && strstr(why, token) == NULL);
	}
	link_handshake_destroy(&h);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	size_t piece_bytes = (size_t)1 + input_byte(&in);
	struct outcome whole = run(in, SIZE_MAX), pieces = run(in, piece_bytes);

	/* The keys differ: an Accept that was right by chance does not come up. */
	CHECK(whole.state == pieces.state && whole.status == pieces.status);
	CHECK(whole.v2 == pieces.v2);
	return 0;
}
