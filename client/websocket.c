/* client/websocket.c - see websocket.h. */
#include "client/websocket.h"

#include "common/bytes.h"
#include "common/utf8.h"

enum {
	CONTINUATION = 0,
	TEXT = 1,
	BINARY = 2,
	FINAL = 0x80,
	RESERVED = 0x70,
	MASKED = 0x80,
	LENGTH_16 = 126,
	LENGTH_64 = 127,
	PROTOCOL_ERROR = 1002,
	NO_STATUS = 1005,
	BAD_TEXT = 1007,
	TOO_BIG = 1009,
};

void websocket_init(struct websocket *w, size_t max_message_bytes,
		    const struct websocket_events *events, void *ctx)
{
	*w = (struct websocket){
		.events = events, .ctx = ctx, .max_message_bytes = max_message_bytes};
}

void websocket_fini(struct websocket *w)
{
	buf_fini(&w->message);
}

static int fault(int code, const char *text, const char **why)
{
	*why = text;
	return code;
}

static bool is_control(const struct websocket *w)
{
	return w->opcode & 8;
}

/* --- headers --- */

static size_t header_size(const struct websocket *w)
{
	uint8_t length = w->header[1] & ~MASKED;

	return w->header_bytes < 2 ? 2 : length == LENGTH_16 ? 4 : length == LENGTH_64 ? 10 : 2;
}

/* Reads the payload length (5.2). Returns NULL, or what is wrong with it. */
static const char *read_length(struct websocket *w)
{
	uint8_t length = w->header[1];

	w->left_bytes = length;
	if (length == LENGTH_16)
		w->left_bytes = get_be16(w->header + 2);
	else if (length == LENGTH_64)
		w->left_bytes = get_be64(w->header + 2);
	if (w->left_bytes > INT64_MAX)
		return "length with its top bit set";
	if ((length == LENGTH_16 && w->left_bytes < LENGTH_16) ||
	    (length == LENGTH_64 && w->left_bytes <= UINT16_MAX))
		return "length not in its shortest form";
	return NULL;
}

static int begin_control(struct websocket *w, const char **why)
{
	if (w->opcode > WEBSOCKET_PONG)
		return fault(PROTOCOL_ERROR, "unknown opcode", why);
	if (!w->final || w->left_bytes > WEBSOCKET_CONTROL_BYTES)
		return fault(PROTOCOL_ERROR, "control frame in fragments or over 125 bytes", why);
	w->control_bytes = 0;
	return 0;
}

static int begin_data(struct websocket *w, const char **why)
{
	if (w->opcode > BINARY)
		return fault(PROTOCOL_ERROR, "unknown opcode", why);
	if (w->in_message != (w->opcode == CONTINUATION))
		return fault(PROTOCOL_ERROR, "message inside a message, or none to continue", why);
	if (w->left_bytes > w->max_message_bytes - buf_bytes(&w->message))
		return fault(TOO_BIG, "message too big", why);
	if (!w->in_message)
		w->text = w->opcode == TEXT;
	w->in_message = true;
	return 0;
}

static int begin_frame(struct websocket *w, const char **why)
{
	w->opcode = w->header[0] & 0x0f;
	w->final = w->header[0] & FINAL;
	if (w->header[0] & RESERVED)
		return fault(PROTOCOL_ERROR, "reserved bit without an extension", why);
	if (w->header[1] & MASKED)
		return fault(PROTOCOL_ERROR, "masked frame from a server", why);
	const char *bad_length = read_length(w);
	if (bad_length != NULL)
		return fault(PROTOCOL_ERROR, bad_length, why);
	w->header_bytes = 0;
	w->in_payload = true;
	return is_control(w) ? begin_control(w, why) : begin_data(w, why);
}

/* --- payloads --- */

static int end_close(struct websocket *w, const char **why)
{
	int code = w->control_bytes >= 2 ? get_be16(w->control) : NO_STATUS;
	size_t reason_bytes = w->control_bytes >= 2 ? w->control_bytes - 2 : 0;

	/* Codes that may appear in a frame (7.4). */
	if (w->control_bytes == 1 ||
	    (w->control_bytes >= 2 && (code < 1000 || code >= 5000 || code == 1004 ||
				       code == 1005 || code == 1006 || code == 1015)))
		return fault(PROTOCOL_ERROR, "Close with an invalid code", why);
	if (!utf8_valid((const char *)w->control + 2, reason_bytes))
		return fault(BAD_TEXT, "Close with a reason that is not UTF-8", why);
	w->closed = true;
	w->events->closed(w->ctx, code, w->control + 2, reason_bytes);
	return 0;
}

static int end_message(struct websocket *w, const uint8_t *data, size_t bytes, const char **why)
{
	w->in_message = false;
	if (w->text && !utf8_valid((const char *)data, bytes))
		return fault(BAD_TEXT, "text that is not UTF-8", why);
	w->events->message(w->ctx, data, bytes);
	return 0;
}

static int end_control(struct websocket *w, const char **why)
{
	w->in_payload = false;
	if (w->opcode == WEBSOCKET_CLOSE)
		return end_close(w, why);
	if (w->opcode == WEBSOCKET_PING)
		w->events->ping(w->ctx, w->control, w->control_bytes);
	return 0;
}

static int receive_control(struct websocket *w, const uint8_t *data, size_t bytes, const char **why)
{
	if (bytes > 0)
		memcpy(w->control + w->control_bytes, data, bytes);
	w->control_bytes += bytes;
	w->left_bytes -= bytes;
	return w->left_bytes == 0 ? end_control(w, why) : 0;
}

static int receive_data(struct websocket *w, const uint8_t *data, size_t bytes, const char **why)
{
	w->left_bytes -= bytes;
	w->in_payload = w->left_bytes > 0;
	bool whole = w->final && !w->in_payload;
	if (whole && buf_bytes(&w->message) == 0)
		return end_message(w, data, bytes, why);
	if (bytes > 0)
		buf_append(&w->message, data, bytes);
	if (!whole)
		return 0;
	int result = end_message(w, buf_first(&w->message), buf_bytes(&w->message), why);
	buf_consume(&w->message, buf_bytes(&w->message));
	return result;
}

/* --- input --- */

/* Reads a part of a header or of a payload. *used is how much of the input it consumed. */
static int receive_part(struct websocket *w, const uint8_t *data, size_t bytes, size_t *used,
			const char **why)
{
	if (!w->in_payload) {
		*used = 1;
		w->header[w->header_bytes++] = *data;
		if (w->header_bytes < header_size(w))
			return 0;
		int result = begin_frame(w, why);
		if (result != 0 || w->left_bytes > 0)
			return result;
		return is_control(w) ? receive_control(w, NULL, 0, why)
				     : receive_data(w, data, 0, why);
	}
	*used = bytes < w->left_bytes ? bytes : (size_t)w->left_bytes;
	return is_control(w) ? receive_control(w, data, *used, why)
			     : receive_data(w, data, *used, why);
}

int websocket_receive(struct websocket *w, const uint8_t *data, size_t bytes, const char **why)
{
	size_t used;

	for (; bytes > 0 && !w->closed; data += used, bytes -= used) {
		int result = receive_part(w, data, bytes, &used, why);
		if (result != 0)
			return result;
	}
	return 0;
}
