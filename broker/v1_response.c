/* broker/v1_response.c - see v1_response.h. Uses jansson, as v1_request.c does. */
#include "broker/v1_response.h"

#include "common/b64.h"
#include "common/bytes.h"
#include "common/http.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	NESTING_MAX = 16,
	VALUES_MAX = 4096,	      /* members and elements, in the message or in its `headers` */
	REST_MAX_BYTES = 1024 * 1024, /* of the message without its body */
	NAME_MAX_BYTES = 1024,
	FIELDS_MAX_BYTES = 95 * 1024,
	PIECE_DIGITS = 4096, /* of base64, decoded at one time */
};

/* --- the first pass: what a JSON text is made of, whether it is valid or not --- */

/* The inside of a string: from the byte behind its first quote to its last quote. */
struct span {
	size_t start, end;
};

struct outline {
	size_t deepest, values;
	size_t bodies; /* members "body" of the outermost object */
	bool has_body, has_corr;
	struct span body; /* the last one of them that is a string */
	struct span corr; /* the last "correlation_id" */
};

/* Where the string that begins behind `at` ends: at its quote, or at the end of the text. */
static size_t string_end(const uint8_t *text, size_t bytes, size_t at)
{
	const uint8_t *quote =
		NULL; /* the next one: looked for once, however many escapes there are */

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

static bool span_is(const uint8_t *text, const struct span *s, const char *word)
{
	return s->end - s->start == strlen(word) &&
	       memcmp(text + s->start, word, strlen(word)) == 0;
}

static void note_value(struct outline *o, const uint8_t *text, const struct span *name,
		       const struct span *value)
{
	if (span_is(text, name, "correlation_id")) {
		o->has_corr = true;
		o->corr = *value;
	} else if (span_is(text, name, "body")) {
		o->has_body = true;
		o->body = *value;
	}
}

static void outline(const uint8_t *text, size_t bytes, struct outline *o)
{
	size_t depth = 0;
	struct span last = {0};
	bool at_value = false; /* behind a colon of the outermost object */

	*o = (struct outline){0};
	for (size_t i = 0; i < bytes; i++) {
		switch (text[i]) {
		case '"': {
			struct span string = {i + 1, string_end(text, bytes, i + 1)};
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

static bool is_simple(const struct outline *o)
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

/* The next character of a JSON string that holds base64: some encoders escape '/', '+' and '='. -1: another
 * one, or a wrong escape. */
static int next_digit(const uint8_t *text, struct span *s)
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
static int take_digits(const uint8_t *text, struct span *s, char *out, size_t most)
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

/* Does it hold base64, whole and nothing else? */
static bool is_base64(const uint8_t *text, struct span s, size_t *padding)
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

/* Decodes it to the front of the same memory: what is written never overtakes what is read. */
static bool decode_body(struct buf *message, struct span s, size_t padding)
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

/* --- the rest --- */

/* Any spelling of a UUID: dashes, braces and "urn:uuid:" do not count (RFC 4122 3). */
static bool uuid_parse(const char *text, size_t bytes, uint8_t out[CORR_BYTES])
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

static bool status_parse(const json_t *value, int *out)
{
	double number = json_number_value(value);

	if (!json_is_number(value) || !(number >= 200 && number <= 599))
		return false;
	*out = (int)number;
	return *out == number;
}

static bool out_of_memory_error(const json_error_t *error)
{
	return json_error_code(error) == json_error_out_of_memory;
}

static void fault(struct v1_response *r, enum fail fail, const char *why)
{
	r->fault = why;
	r->fail = fail;
}

static void no_memory(struct v1_response *r)
{
	fault(r, FAIL_OVERLOADED, "no memory");
}

static bool put_field(struct buf *out, const char *name, size_t name_bytes, const void *value,
		      size_t value_bytes)
{
	uint8_t *at = buf_try_extend(out, 6 + name_bytes + value_bytes);

	if (at == NULL)
		return false;
	put_be16(at, (uint16_t)name_bytes);
	put_be32(at + 2, (uint32_t)value_bytes);
	memcpy(at + 6, name, name_bytes);
	if (value_bytes > 0)
		memcpy(at + 6 + name_bytes, value, value_bytes);
	return true;
}

static bool header_valid(const char *name, const json_t *value)
{
	return *name != '\0' && *name != ':' && strlen(name) <= NAME_MAX_BYTES &&
	       json_is_string(value) &&
	       http_value_valid(json_string_value(value), json_string_length(value));
}

static void read_headers(struct v1_response *r, json_t *headers)
{
	const char *name;
	json_t *value;

	if (!json_is_object(headers)) {
		fault(r, FAIL_BAD_RESPONSE, "headers are no JSON object");
		return;
	}
	json_object_foreach (headers, name, value) {
		if (!header_valid(name, value)) {
			fault(r, FAIL_BAD_RESPONSE, "a header is not valid");
			return;
		}
		if (buf_bytes(&r->fields) + 6 + strlen(name) + json_string_length(value) >
		    FIELDS_MAX_BYTES) {
			fault(r, FAIL_BAD_RESPONSE, "the head is too large");
			return;
		}
		if (!put_field(&r->fields, name, strlen(name), json_string_value(value),
			       json_string_length(value))) {
			no_memory(r);
			return;
		}
	}
}

static void parse_headers(struct v1_response *r, const json_t *text)
{
	const char *inside = json_string_value(text);
	size_t bytes = json_string_length(text);
	struct outline o;
	json_error_t error;

	if (!json_is_string(text)) {
		fault(r, FAIL_BAD_RESPONSE, "headers are no string");
		return;
	}
	if (bytes == 0)
		return;
	outline((const uint8_t *)inside, bytes, &o);
	if (!is_simple(&o)) {
		fault(r, FAIL_BAD_RESPONSE, "headers are too deep or too many");
		return;
	}
	json_t *headers = json_loadb(inside, bytes, JSON_ALLOW_NUL, &error);
	if (headers == NULL && out_of_memory_error(&error))
		no_memory(r);
	else
		read_headers(r, headers);
	json_decref(headers);
}

/* Of a member that the first pass did not take for base64: it is short, has odd escapes, or is wrong. */
static void read_body_member(struct v1_response *r, const json_t *body)
{
	size_t bytes;

	if (!json_is_string(body)) {
		fault(r, FAIL_BAD_RESPONSE, "the body is no string");
		return;
	}
	uint8_t *data = b64_decode(json_string_value(body), json_string_length(body), &bytes);
	if (data == NULL)
		fault(r, FAIL_BAD_RESPONSE, "the body is no base64");
	else if (!buf_try_append(&r->body, data, bytes))
		no_memory(r);
	free(data);
}

/* The message with a number in the place of its body, parsed. NULL: r->fault says why. */
static json_t *parse_rest(struct v1_response *r, const struct buf *message, const struct span *cut)
{
	static const char number[] = " 0 "; /* it must not become a part of what stands beside it */
	const char *text = (const char *)buf_first(message);
	size_t before = cut ? cut->start - 1 : buf_bytes(message);
	size_t after = cut ? buf_bytes(message) - cut->end - 1 : 0;
	size_t between = cut ? sizeof number - 1 : 0;
	char *rest = malloc(before + between + after + 1);
	json_error_t error;

	if (rest == NULL) {
		no_memory(r);
		return NULL;
	}
	if (before > 0)
		memcpy(rest, text, before);
	memcpy(rest + before, number, between);
	if (after > 0)
		memcpy(rest + before + between, text + cut->end + 1, after);
	/* Integers as reals: a status of 10^30 is a wrong status, not a JSON error. */
	json_t *json = json_loadb(rest, before + between + after,
				  JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	free(rest);
	if (json == NULL && out_of_memory_error(&error))
		no_memory(r);
	else if (json == NULL)
		fault(r, FAIL_BAD_RESPONSE, "not JSON");
	return json;
}

static void read_corr(struct v1_response *r, const json_t *json)
{
	const json_t *id = json_object_get(json, "correlation_id");

	r->has_corr = json_is_string(id) &&
		      uuid_parse(json_string_value(id), json_string_length(id), r->corr);
	if (!r->has_corr)
		fault(r, FAIL_BAD_RESPONSE, "names no exchange");
}

/* Of one that is not parsed: any other spelling than a plain one is none. */
static void read_plain_corr(struct v1_response *r, const struct buf *message,
			    const struct outline *o)
{
	r->has_corr = o->has_corr && uuid_parse((const char *)buf_first(message) + o->corr.start,
						o->corr.end - o->corr.start, r->corr);
}

static void read_members(struct v1_response *r, const json_t *json, struct buf *message,
			 const struct span *cut, size_t padding)
{
	const json_t *body = json_object_get(json, "body");

	read_corr(r, json);
	if (r->fault == NULL && !status_parse(json_object_get(json, "status_code"), &r->status))
		fault(r, FAIL_BAD_RESPONSE, "the status is not valid");
	if (r->fault == NULL)
		parse_headers(r, json_object_get(json, "headers"));
	if (r->fault != NULL)
		return;
	if (cut == NULL || !json_is_real(body)) { /* or another one, with escapes in its name */
		read_body_member(r, body);
	} else if (decode_body(message, *cut, padding)) {
		r->body = *message;
		*message = (struct buf){0};
	} else {
		fault(r, FAIL_BAD_RESPONSE, "the body is no base64");
	}
}

void v1_response_decode(struct v1_response *r, struct buf *message)
{
	const uint8_t *text = buf_first(message);
	size_t bytes = buf_bytes(message), padding = 0;
	struct outline o;
	const struct span *cut = NULL;

	CHECK(message->start == 0);
	*r = (struct v1_response){0};
	outline(text, bytes, &o);
	if (o.has_body && o.bodies == 1 && is_base64(text, o.body, &padding))
		cut = &o.body;
	size_t rest_bytes = cut ? bytes - (cut->end - cut->start) : bytes;
	if (!is_simple(&o) || rest_bytes > REST_MAX_BYTES) {
		fault(r, FAIL_BAD_RESPONSE, "too deep, too many values or too long");
		read_plain_corr(r, message, &o);
	} else {
		json_t *json = parse_rest(r, message, cut);
		if (json != NULL)
			read_members(r, json, message, cut, padding);
		else if (r->fail == FAIL_OVERLOADED)
			read_plain_corr(r, message, &o);
		json_decref(json);
	}
	buf_fini(message);
}

void v1_response_fini(struct v1_response *r)
{
	buf_fini(&r->fields);
	buf_fini(&r->body);
}

/* --- the response head --- */

/* Does a body begin as one of that coding does? */
static bool begins_like(const struct head_field *coding, const uint8_t *body, size_t bytes)
{
	if (field_is(coding, "zstd")) /* RFC 8878 3.1.1 */
		return bytes >= 4 && memcmp(body, "\x28\xb5\x2f\xfd", 4) == 0;
	if (field_is(coding, "deflate")) /* zlib, RFC 1950 2.2 */
		return bytes >= 2 && (body[0] & 0x0f) == 8 && (body[0] * 256 + body[1]) % 31 == 0;
	return bytes >= 2 && body[0] == 0x1f && body[1] == 0x8b;
}

/* The original's client has decoded the body and left the header, a list in the order in which the codings were applied
 * (RFC 9110 8.4). One that we cannot tell by how a body begins, such as br, may be there still. */
static bool coding_is_gone(const struct head_field *codings, const struct buf *body)
{
	struct head_field list = {.value = codings->value, .value_bytes = codings->value_bytes};
	struct head_field coding, last = {0};

	while (http_list_next(&list, &coding)) {
		if (coding.name_bytes == 0 || field_is(&coding, "identity"))
			continue;
		if (!field_is(&coding, "gzip") && !field_is(&coding, "x-gzip") &&
		    !field_is(&coding, "deflate") && !field_is(&coding, "zstd"))
			return false;
		last = coding;
	}
	return last.name != NULL && !begins_like(&last, buf_first(body), buf_bytes(body));
}

static bool put_number(struct buf *out, const char *name, size_t value)
{
	char number[24];
	int bytes = snprintf(number, sizeof number, "%zu", value);

	return put_field(out, name, strlen(name), number, (size_t)bytes);
}

bool v1_response_head(const struct v1_response *r, bool bodiless, struct buf *out)
{
	struct head_reader reader;
	struct head_field f;
	bool good = put_number(out, ":status", (size_t)r->status);

	head_reader_init(&reader, buf_first(&r->fields), buf_bytes(&r->fields));
	while (good && head_next(&reader, &f) == 1) {
		bool stale = !bodiless &&
			     (field_is(&f, "content-length") ||
			      (field_is(&f, "content-encoding") && coding_is_gone(&f, &r->body)));
		if (!stale)
			good = put_field(out, f.name, f.name_bytes, f.value, f.value_bytes);
	}
	if (good && !bodiless)
		good = put_number(out, "content-length", buf_bytes(&r->body));
	return good;
}
