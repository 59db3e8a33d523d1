/* A WebSocket message of tunnel protocol v2: frames, and the heads in OPEN and HEAD. */
#include "common/frame.h"

#include "common/head.h"
#include "tests/fuzz/fuzz.h"

static void check_split(const struct frame *f)
{
	const uint8_t *head, *body;
	size_t head_bytes, body_bytes;

	if (!frame_split_head(f, &head, &head_bytes, &body, &body_bytes))
		return;
	CHECK(head == f->payload + 4 && body == head + head_bytes);
	CHECK(4 + head_bytes + body_bytes == f->payload_bytes);
	CHECK(head_valid(head, head_bytes));
}

/* Written again it is the same, but for the two bytes that are always zero. */
static void check_round_trip(const uint8_t *wire, const struct frame *f)
{
	uint8_t header[FRAME_HEADER_BYTES];

	frame_put_header(header, f->type, f->flags, f->stream, f->payload_bytes);
	CHECK(memcmp(header, wire, 2) == 0);
	CHECK(memcmp(header + 4, wire + 4, FRAME_HEADER_BYTES - 4) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct frame f;
	size_t used;
	int got = 0;

	while (bytes > 0 && (got = frame_get(data, bytes, &f, &used)) == 1) {
		CHECK(used == FRAME_HEADER_BYTES + f.payload_bytes && used <= bytes);
		CHECK(f.payload == data + FRAME_HEADER_BYTES);
		CHECK(f.payload_bytes <= FRAME_MAX_PAYLOAD_BYTES);
		uint8_t *cut = copy_of(data, used - 1);
		struct frame none;
		size_t nothing;
		CHECK(frame_get(cut, used - 1, &none, &nothing) == 0);
		free(cut);
		check_round_trip(data, &f);
		check_split(&f);
		data += used;
		bytes -= used;
	}
	if (got == -1)
		CHECK(get_be32(data + 8) > FRAME_MAX_PAYLOAD_BYTES);
	return 0;
}
