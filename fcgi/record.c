/* fcgi/record.c - see record.h. A record: version 1, type, request id (2), content length (2),
 * padding length, reserved; the content; the padding. */
#include "fcgi/record.h"

#include "common/bytes.h"

#include <stdbool.h>

enum {
	VERSION = 1,
	BEGIN_REQUEST = 1,
	END_REQUEST = 3,
	PARAMS = 4,
	STDIN = 5,
	STDOUT = 6,
	END_BODY_BYTES = 8,
	/* With its header a record is 64 KiB. lighttpd keeps output in chunks of that size, and
	 * writes what does not fit into them to temporary files. */
	CONTENT_MAX_BYTES = 64 * 1024 - RECORD_HEADER_BYTES,
	MANAGEMENT_ID = 0, /* instead of a request id */
};

enum record_state record_state(const uint8_t *data, size_t bytes)
{
	enum record_state state = RECORD_INCOMPLETE;
	uint8_t expected = BEGIN_REQUEST;
	uint16_t id = 0;

	for (size_t at = 0; bytes - at >= RECORD_HEADER_BYTES;) {
		const uint8_t *header = data + at;
		size_t content_bytes = get_be16(header + 4);
		size_t record_bytes = RECORD_HEADER_BYTES + content_bytes + header[6];
		if (state == RECORD_WHOLE || header[0] != VERSION || header[1] != expected ||
		    (at > 0 && get_be16(header + 2) != id))
			return RECORD_UNEXPECTED;
		/* libfcgi would parse this padding as the next record. */
		if (header[6] > 0 && (expected == BEGIN_REQUEST || content_bytes == 0))
			return RECORD_UNEXPECTED;
		if (record_bytes > bytes - at)
			return state;
		id = get_be16(header + 2);
		if (expected == BEGIN_REQUEST) {
			expected = PARAMS;
		} else if (content_bytes == 0) { /* end of that stream */
			state = expected == PARAMS ? RECORD_PARAMETERS : RECORD_WHOLE;
			expected = STDIN;
		}
		at += record_bytes;
	}
	return state;
}

/* Returns how many of the next bytes belong to what is ignored. */
static size_t consume_ignored(struct record_body *b, size_t bytes)
{
	size_t some = b->ignored_bytes < bytes ? b->ignored_bytes : bytes;

	b->ignored_bytes -= some;
	return some;
}

size_t record_body_next(struct record_body *b, const uint8_t *data, size_t bytes)
{
	size_t at = 0;

	while (b->content_bytes == 0 && !b->ended && !b->broken) {
		at += consume_ignored(b, bytes - at);
		if (bytes - at < RECORD_HEADER_BYTES)
			break;
		const uint8_t *header = data + at;
		size_t content_bytes = get_be16(header + 4);
		bool ours = get_be16(header + 2) == b->request_id;
		if (header[0] != VERSION || header[1] == BEGIN_REQUEST ||
		    (ours && header[1] != STDIN)) {
			b->broken = true;
			break;
		}
		b->ended = ours && content_bytes == 0;
		b->content_bytes = ours ? content_bytes : 0;
		b->ignored_bytes = header[6] + (ours ? 0 : content_bytes);
		at += RECORD_HEADER_BYTES;
	}
	return at;
}

size_t record_body_skip(struct record_body *b, const uint8_t *data, size_t bytes)
{
	size_t at;

	b->ignored_bytes += b->content_bytes;
	b->content_bytes = 0;
	at = consume_ignored(b, bytes);
	while (bytes - at >= RECORD_HEADER_BYTES) {
		const uint8_t *header = data + at;
		size_t content_bytes = get_be16(header + 4);
		uint16_t id = get_be16(header + 2);
		if (header[0] != VERSION || header[1] == BEGIN_REQUEST || id == MANAGEMENT_ID)
			break;
		if (id == b->request_id && header[1] == STDIN && content_bytes == 0)
			b->ended = true;
		b->ignored_bytes = content_bytes + header[6];
		at += RECORD_HEADER_BYTES;
		at += consume_ignored(b, bytes - at);
	}
	return at;
}

static void put_header(uint8_t *at, uint8_t type, int request_id, size_t content_bytes)
{
	at[0] = VERSION;
	at[1] = type;
	put_be16(at + 2, (uint16_t)request_id);
	put_be16(at + 4, (uint16_t)content_bytes);
	at[6] = at[7] = 0; /* no padding: it would cost Apache another read */
}

void record_put_output(struct buf *out, size_t *open_bytes, int request_id, const void *data,
		       size_t bytes)
{
	const uint8_t *from = data;

	while (bytes > 0) {
		if (*open_bytes == 0 || *open_bytes == CONTENT_MAX_BYTES) {
			buf_extend(out, RECORD_HEADER_BYTES);
			*open_bytes = 0;
		}
		size_t room = CONTENT_MAX_BYTES - *open_bytes;
		size_t some = bytes < room ? bytes : room;
		buf_append(out, from, some);
		*open_bytes += some;
		put_header(out->data + out->end - *open_bytes - RECORD_HEADER_BYTES, STDOUT,
			   request_id, *open_bytes);
		from += some;
		bytes -= some;
	}
}

void record_put_end(struct buf *out, int request_id)
{
	uint8_t *at = buf_extend(out, RECORD_HEADER_BYTES + END_BODY_BYTES);

	put_header(at, END_REQUEST, request_id, END_BODY_BYTES);
	memset(at + RECORD_HEADER_BYTES, 0, END_BODY_BYTES); /* status 0, complete */
}
