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

void frame_append(struct buf *out, uint8_t type, uint32_t stream, const void *payload, size_t bytes)
{
	uint8_t *at = buf_extend(out, FRAME_HEADER_BYTES + bytes);

	frame_put_header(at, type, 0, stream, bytes);
	if (bytes > 0)
		memcpy(at + FRAME_HEADER_BYTES, payload, bytes);
}

size_t frame_move(struct buf *frames, uint8_t *out, size_t room_bytes)
{
	size_t used = 0, frame_bytes;
	struct frame f;

	while (buf_bytes(frames) > 0) {
		CHECK(frame_get(buf_first(frames), buf_bytes(frames), &f, &frame_bytes) == 1);
		if (used + frame_bytes > room_bytes)
			break;
		memcpy(out + used, buf_first(frames), frame_bytes);
		buf_consume(frames, frame_bytes);
		used += frame_bytes;
	}
	return used;
}

size_t frame_piece_bytes(const struct frame_piece *p)
{
	return FRAME_HEADER_BYTES + (p->type != FRAME_DATA ? 4 + p->head_bytes : 0) + p->body_bytes;
}

size_t frame_put_piece(uint8_t *out, const struct frame_piece *p)
{
	size_t frame_bytes = frame_piece_bytes(p);

	frame_put_header(out, p->type, p->flags, p->stream, frame_bytes - FRAME_HEADER_BYTES);
	out += FRAME_HEADER_BYTES;
	if (p->type != FRAME_DATA) {
		put_be32(out, (uint32_t)p->head_bytes);
		if (p->head_bytes > 0)
			memcpy(out + 4, p->head, p->head_bytes);
		out += 4 + p->head_bytes;
	}
	if (p->body_bytes > 0)
		memcpy(out, p->body, p->body_bytes);
	return frame_bytes;
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

const char *frame_type_name(uint8_t type)
{
	static const char *const names[] = {
		[FRAME_HELLO] = "HELLO",   [FRAME_OPEN] = "OPEN",     [FRAME_HEAD] = "HEAD",
		[FRAME_DATA] = "DATA",	   [FRAME_WINDOW] = "WINDOW", [FRAME_RESET] = "RESET",
		[FRAME_GOAWAY] = "GOAWAY", [FRAME_PING] = "PING",     [FRAME_PONG] = "PONG",
	};

	return type >= FRAME_HELLO && type <= FRAME_PONG ? names[type] : "UNKNOWN";
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
