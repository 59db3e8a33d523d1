/* client/request_sender.c - see request_sender.h. */
#include "client/request_sender.h"

#include <stdio.h>
#include <string.h>

enum {
	CHUNK_LINE_BYTES = REQUEST_SENDER_CHUNK_LINE_BYTES,
	GATHER_BYTES = 16 * 1024, /* sent in one write with the head */
};

enum fail request_sender_start(struct request_sender *s, const struct request_input *in,
			       const struct fetch_events *events, void *ctx)
{
	enum fail f = request_writer_write(&s->out, &s->request, in);

	s->events = events;
	s->ctx = ctx;
	s->body = !s->request.has_body ? BODY_OVER : s->request.expects ? BODY_HELD : BODY_GOING;
	return f;
}

void request_sender_fini(struct request_sender *s)
{
	buf_fini(&s->out);
}

static const uint8_t *frame_chunk(uint8_t *data, size_t bytes, size_t *framed_bytes)
{
	char line[CHUNK_LINE_BYTES];
	int line_bytes = snprintf(line, sizeof line, "%zx\r\n", bytes);

	memcpy(data - line_bytes, line, (size_t)line_bytes);
	memcpy(data + bytes, "\r\n", REQUEST_SENDER_CHUNK_END_BYTES);
	*framed_bytes = (size_t)line_bytes + bytes + REQUEST_SENDER_CHUNK_END_BYTES;
	return data - line_bytes;
}

/* Gets the owner's next piece of the body, framed for sending. NULL: none at present. */
static const uint8_t *next_piece(struct request_sender *s, uint8_t *scratch, size_t *bytes)
{
	static const char last_chunk[] = "0\r\n\r\n";
	uint8_t *room = scratch + CHUNK_LINE_BYTES;
	struct written_request *r = &s->request;
	size_t most = FETCH_PIECE_BYTES;

	if (s->body != BODY_GOING || s->body_waits)
		return NULL;
	if (!r->chunked && r->body_bytes < (long long)most)
		most = (size_t)r->body_bytes;
	ssize_t got = s->events->body(s->ctx, room, most);
	s->body_waits = got == FETCH_WAIT;
	if (got == FETCH_END) {
		s->body = r->chunked ? BODY_OVER : BODY_SHORT;
		*bytes = sizeof last_chunk - 1;
		return r->chunked ? (const uint8_t *)last_chunk : NULL;
	}
	if (got <= 0)
		return NULL;
	*bytes = (size_t)got;
	if (r->chunked)
		return frame_chunk(room, *bytes, bytes);
	r->body_bytes -= got;
	if (r->body_bytes == 0)
		s->body = BODY_OVER;
	return room;
}

/* Appends to the head what is available of the body. */
static void add_body_to_head(struct request_sender *s, uint8_t *scratch)
{
	const uint8_t *piece;
	size_t bytes;

	while (buf_bytes(&s->out) < GATHER_BYTES &&
	       (piece = next_piece(s, scratch, &bytes)) != NULL)
		buf_append(&s->out, piece, bytes);
}

void request_sender_send(struct request_sender *s, struct conn *conn, uint8_t *scratch)
{
	if (!s->begun)
		add_body_to_head(s, scratch);
	while (!s->broken) {
		bool is_rest = buf_bytes(&s->out) > 0;
		size_t bytes = buf_bytes(&s->out);
		const uint8_t *at = is_rest ? buf_first(&s->out) : next_piece(s, scratch, &bytes);
		if (at == NULL)
			return;
		ssize_t sent = conn_write(conn, at, bytes);
		s->broken = sent < 0;
		if (sent < 0)
			return;
		s->begun = s->begun || sent > 0;
		if (is_rest)
			buf_consume(&s->out, (size_t)sent);
		else
			buf_append(&s->out, at + sent, bytes - (size_t)sent);
		if ((size_t)sent < bytes)
			return;
	}
}

void request_sender_release(struct request_sender *s)
{
	s->body = BODY_GOING;
}

void request_sender_restart(struct request_sender *s)
{
	s->broken = false;
}

bool request_sender_is_complete(const struct request_sender *s)
{
	return s->body == BODY_OVER && buf_bytes(&s->out) == 0 && !s->broken;
}

bool request_sender_is_blocked(const struct request_sender *s)
{
	return !s->broken && buf_bytes(&s->out) > 0;
}
