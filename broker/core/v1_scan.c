/* broker/core/v1_scan.c - see v1_scan.h. */
#include "broker/core/v1_scan.h"

#include "common/b64.h"

#include <string.h>
#include <strings.h>

enum {
	NESTING_MAX = 16,
	VALUES_MAX = 4096,   /* members and elements, in the message or in its `headers` */
	PIECE_DIGITS = 4096, /* of base64, decoded in one step */
};

/* Where the string that begins behind `at` ends: at its quote, or at the end of the text. */
static size_t string_end(const uint8_t *text, size_t bytes, size_t at)
{
	/* The next one: looked for once, however many escapes there are. */
	const uint8_t *quote = NULL;

	while (at < bytes) {
		if (quote == NULL || quote < text + at)
			quote = memchr(text + at, '"', bytes - at);
		if (quote == NULL)
			return bytes;
		const uint8_t *escape = memchr(text + at, '\\', (size_t)(quote - text) - at);
		if (escape == NULL)
			return (size_t)(quote - text);
		at = (size_t)(escape - text) + 2;
	}
	return bytes;
}

static bool span_is(const uint8_t *text, const struct v1_span *s, const char *word)
{
	return s->end - s->start == strlen(word) &&
	       memcmp(text + s->start, word, strlen(word)) == 0;
}

static void note_value(struct v1_outline *o, const uint8_t *text, const struct v1_span *name,
		       const struct v1_span *value)
{
	if (span_is(text, name, "correlation_id")) {
		o->has_corr = true;
		o->corr = *value;
	} else if (span_is(text, name, "body")) {
		o->has_body = true;
		o->body = *value;
	}
}

void v1_outline(const uint8_t *text, size_t bytes, struct v1_outline *o)
{
	size_t depth = 0;
	struct v1_span last = {0};
	bool at_value = false; /* behind a colon of the outermost object */

	*o = (struct v1_outline){0};
	for (size_t i = 0; i < bytes; i++) {
		switch (text[i]) {
		case '"': {
			struct v1_span string = {i + 1, string_end(text, bytes, i + 1)};
			i = string.end;
			if (depth == 1 && at_value && i < bytes)
				note_value(o, text, &last, &string);
			last = string;
			break;
		}
		case '{':
		case '[':
			depth++;
			o->values++;
			o->deepest = depth > o->deepest ? depth : o->deepest;
			break;
		case '}':
		case ']':
			depth -= depth > 0;
			break;
		case ',':
			o->values++;
			at_value = at_value && depth != 1;
			break;
		case ':':
			at_value = at_value || depth == 1;
			o->bodies += depth == 1 && span_is(text, &last, "body");
			break;
		default:
			break;
		}
	}
}

bool v1_is_simple(const struct v1_outline *o)
{
	return o->deepest <= NESTING_MAX && o->values <= VALUES_MAX;
}

/* --- the body --- */

static int hex_value(uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = memchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c, 16);

	return at ? (int)(at - digits) : -1;
}

/* The next character of a JSON string that holds base64: some encoders escape '/', '+' and '='.
 * -1: another one, or a wrong escape. */
static int next_digit(const uint8_t *text, struct v1_span *s)
{
	int c = text[s->start++];

	if (c == '\\' && s->start < s->end && text[s->start] == '/') {
		c = text[s->start++];
	} else if (c == '\\' && s->end - s->start >= 5 && text[s->start] == 'u') {
		c = 0;
		for (size_t i = 1; i <= 4; i++) {
			int digit = hex_value(text[s->start + i]);
			if (digit < 0)
				return -1;
			c = c * 16 + digit;
		}
		s->start += 5;
	}
	return c == '=' || (c < 0x80 && b64_is_digit((uint8_t)c)) ? c : -1;
}

/* Takes the next characters, up to `most`, into `out`. -1: one of them does not belong there. */
static int take_digits(const uint8_t *text, struct v1_span *s, char *out, size_t most)
{
	size_t count = s->end - s->start < most ? s->end - s->start : most;

	if (memchr(text + s->start, '\\', count) == NULL) { /* the usual case: no escapes */
		memcpy(out, text + s->start, count);
		s->start += count;
		return (int)count;
	}
	for (count = 0; count < most && s->start < s->end; count++) {
		int c = next_digit(text, s);
		if (c < 0)
			return -1;
		out[count] = (char)c;
	}
	return (int)count;
}

bool v1_is_base64(const uint8_t *text, struct v1_span s, size_t *padding)
{
	size_t digits = 0;

	*padding = 0;
	while (s.start < s.end) {
		char piece[PIECE_DIGITS];
		int count = take_digits(text, &s, piece, sizeof piece);
		for (int i = 0; i < count; i++) {
			if (piece[i] != '=' && (*padding > 0 || !b64_is_digit((uint8_t)piece[i])))
				return false;
			*padding += piece[i] == '=';
		}
		if (count < 0)
			return false;
		digits += (size_t)count;
	}
	return digits % 4 == 0 && *padding <= 2;
}

/* What is written never overtakes what is read. */
bool v1_decode_body(struct buf *message, struct v1_span s, size_t padding)
{
	uint8_t *data = message->data;
	size_t used = 0;

	while (s.start < s.end) {
		char piece[PIECE_DIGITS];
		int count = take_digits(data, &s, piece, sizeof piece);
		if (count < 0 || !b64_decode_piece(piece, (size_t)count, data + used))
			return false;
		used += (size_t)count / 4 * 3;
	}
	message->start = 0;
	message->end = used - padding;
	buf_fit(message);
	return true;
}

/* --- the correlation id --- */

bool v1_uuid_parse(const char *text, size_t bytes, uint8_t out[CORR_BYTES])
{
	const char *end = text + bytes;
	size_t digits = 0;

	if (bytes > 9 && strncasecmp(text, "urn:uuid:", 9) == 0)
		text += 9;
	for (; text < end; text++) {
		if (*text == '-' || *text == '{' || *text == '}')
			continue;
		int value = hex_value((uint8_t)*text);
		if (value < 0 || digits == 2 * CORR_BYTES)
			return false;
		if (digits % 2 == 0)
			out[digits / 2] = (uint8_t)(value << 4);
		else
			out[digits / 2] |= (uint8_t)value;
		digits++;
	}
	return digits == 2 * CORR_BYTES;
}
