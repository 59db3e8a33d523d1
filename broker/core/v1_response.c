/* broker/core/v1_response.c - see v1_response.h. Uses jansson, as v1_request.c does. */
#include "broker/core/v1_response.h"

#include "broker/core/v1_scan.h"
#include "common/b64.h"
#include "common/bytes.h"
#include "common/http.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	REST_MAX_BYTES = 1024 * 1024, /* of the message without its body */
	NAME_MAX_BYTES = 1024,
	FIELDS_MAX_BYTES = 95 * 1024,
};

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
	struct v1_outline o;
	json_error_t error;

	if (!json_is_string(text)) {
		fault(r, FAIL_BAD_RESPONSE, "headers are no string");
		return;
	}
	if (bytes == 0)
		return;
	v1_outline((const uint8_t *)inside, bytes, &o);
	if (!v1_is_simple(&o)) {
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

/* Of a member that the first pass did not take for base64: it is short, has odd escapes, or is
 * wrong. */
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
static json_t *parse_rest(struct v1_response *r, const struct buf *message,
			  const struct v1_span *cut)
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
		      v1_uuid_parse(json_string_value(id), json_string_length(id), r->corr);
	if (!r->has_corr)
		fault(r, FAIL_BAD_RESPONSE, "names no exchange");
}

/* Of one that is not parsed: any other spelling than a plain one is none. */
static void read_plain_corr(struct v1_response *r, const struct buf *message,
			    const struct v1_outline *o)
{
	r->has_corr = o->has_corr && v1_uuid_parse((const char *)buf_first(message) + o->corr.start,
						   o->corr.end - o->corr.start, r->corr);
}

static void read_members(struct v1_response *r, const json_t *json, struct buf *message,
			 const struct v1_span *cut, size_t padding)
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
	} else if (v1_decode_body(message, *cut, padding)) {
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
	struct v1_outline o;
	const struct v1_span *cut = NULL;

	CHECK(message->start == 0);
	*r = (struct v1_response){0};
	v1_outline(text, bytes, &o);
	if (o.has_body && o.bodies == 1 && v1_is_base64(text, o.body, &padding))
		cut = &o.body;
	size_t rest_bytes = cut ? bytes - (cut->end - cut->start) : bytes;
	if (!v1_is_simple(&o) || rest_bytes > REST_MAX_BYTES) {
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

/* The original's client has decoded the body and left the header, a list in the order in which
 * the codings were applied (RFC 9110 8.4). One that we cannot tell by how a body begins, such as
 * br, may be there still. */
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
