/* common/frame.c - see frame.h. */
#include "common/frame.h"

#include "common/bytes.h"
#include "common/head.h"

void frame_put_header(uint8_t *out, uint8_t type, uint8_t flags, uint32_t stream,
		      size_t payload_bytes)
{
	CHECK(payload_bytes <= FRAME_MAX_PAYLOAD_BYTES);
	out[0] = type;
	out[1] = flags;
	put_be16(out + 2, 0);
	put_be32(out + 4, stream);
	put_be32(out + 8, (uint32_t)payload_bytes);
}

int frame_get(const void *data, size_t bytes, struct frame *out, size_t *used_bytes)
{
	const uint8_t *in = data;

	if (bytes < FRAME_HEADER_BYTES)
		return 0;
	size_t payload_bytes = get_be32(in + 8);
	if (payload_bytes > FRAME_MAX_PAYLOAD_BYTES)
		return -1;
	if (payload_bytes > bytes - FRAME_HEADER_BYTES)
		return 0;
	*out = (struct frame){
		.type = in[0],
		.flags = in[1],
		.stream = get_be32(in + 4),
		.payload = in + FRAME_HEADER_BYTES,
		.payload_bytes = payload_bytes,
	};
	*used_bytes = FRAME_HEADER_BYTES + payload_bytes;
	return 1;
}

bool frame_split_head(const struct frame *f, const uint8_t **head, size_t *head_bytes,
		      const uint8_t **body, size_t *body_bytes)
{
	if (f->payload_bytes < 4)
		return false;
	size_t bytes = get_be32(f->payload);
	if (bytes > f->payload_bytes - 4)
		return false;
	*head = f->payload + 4;
	*head_bytes = bytes;
	*body = f->payload + 4 + bytes;
	*body_bytes = f->payload_bytes - 4 - bytes;
	return head_valid(*head, *head_bytes);
}
