/* client/v1_message.c - see v1.h: the messages of protocol v1. The only file of the client that
 * includes jansson.h. */
#include "client/v1.h"

#include "common/b64.h"
#include "common/check.h"
#include "common/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	PATH_MAX_BYTES = 64 * 1024,   /* of a request message, as text */
	INNER_MAX_BYTES = 256 * 1024, /* of the JSON inside url_query and headers */
	DEPTH_MAX = 8,		      /* of the message's JSON */
	MEMBERS_MAX = 64,	      /* members and elements of the message's JSON, in all */
	CORRELATION_ID_MAX_BYTES = 64,
};

/* --- a request message --- */

static const char hex_digits[] = "0123456789ABCDEF";

static bool is_hex(char c)
{
	return c != '\0' && strchr("0123456789abcdefABCDEF", c) != NULL;
}

/* Bytes that need no encoding in a query value: "unreserved" of RFC 3986 2.3. */
static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~", c) != NULL);
}

/* The same in a path: also sub-delims, ":", "@", "/" (3.3), and bytes that are already
 * percent-encoded. */
static bool stays_in_path(const char *at)
{
	return is_unreserved(*at) || (*at != '\0' && strchr("!$&'()*+,;=:@/", *at) != NULL) ||
	       (*at == '%' && is_hex(at[1]) && is_hex(at[2]));
}

static void put_encoded(struct buf *out, char c)
{
	char text[3] = {'%', hex_digits[(unsigned char)c >> 4], hex_digits[(unsigned char)c & 15]};

	buf_append(out, text, sizeof text);
}

/* Appends the path, with percent-encoding where necessary. JSON strings may contain U+0000. */
static void put_path(struct buf *out, const json_t *path)
{
	const char *at = json_string_value(path);
	const char *end = at + json_string_length(path);

	buf_append(out, "/", 1);
	for (; at < end; at++) {
		if (stays_in_path(at))
			buf_append(out, at, 1);
		else
			put_encoded(out, *at);
	}
}

static bool put_query_text(struct buf *out, const json_t *value)
{
	const char *at = json_string_value(value);

	if (at == NULL)
		return false;
	for (const char *end = at + json_string_length(value); at < end; at++) {
		if (is_unreserved(*at))
			buf_append(out, at, 1);
		else
			put_encoded(out, *at);
	}
	return true;
}

/* Parses a string member that holds JSON. Returns NULL if it does not, or is too long: two bytes of
 * JSON can take some hundred bytes of memory. */
static json_t *read_inner(const json_t *text)
{
	if (json_string_length(text) > INNER_MAX_BYTES)
		return NULL;
	return json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
}

/* Reads a string that holds a JSON list of [key, value]. */
static bool put_query(struct buf *out, const json_t *text)
{
	json_t *pairs = read_inner(text);
	bool good = json_is_array(pairs);
	size_t i;
	json_t *pair;

	json_array_foreach (pairs, i, pair) {
		buf_append(out, i == 0 ? "?" : "&", 1);
		good = good && json_array_size(pair) == 2 &&
		       put_query_text(out, json_array_get(pair, 0));
		buf_append(out, "=", 1);
		good = good && put_query_text(out, json_array_get(pair, 1));
	}
	json_decref(pairs);
	return good;
}

/* Reads a string that holds a JSON object of strings. request_writer.c checks whether they are
 * valid fields. */
static bool add_headers(struct head *head, const json_t *text, bool *declares_length)
{
	json_t *headers = read_inner(text);
	bool good = json_is_object(headers);
	const char *name;
	json_t *value;

	json_object_foreach (headers, name, value) {
		if (!json_is_string(value) || *name == '\0' || *name == ':' ||
		    strlen(name) > UINT16_MAX) {
			good = false;
			break;
		}
		*declares_length = *declares_length || strcasecmp(name, "content-length") == 0;
		head_add_bytes(head, name, strlen(name), json_string_value(value),
			       json_string_length(value));
	}
	json_decref(headers);
	return good;
}

/* Returns NULL if there is no id, or none that a response could repeat. */
static char *read_correlation_id(const json_t *message)
{
	const json_t *id = json_object_get(message, "correlation_id");
	size_t bytes = json_string_length(id);

	if (!json_is_string(id) || bytes > CORRELATION_ID_MAX_BYTES ||
	    strlen(json_string_value(id)) != bytes)
		return NULL;
	return xstrdup(json_string_value(id));
}

static bool read_fields(struct v1_request *r, const json_t *message)
{
	const json_t *path = json_object_get(message, "url_path");
	const json_t *query = json_object_get(message, "url_query");
	const json_t *method = json_object_get(message, "method");
	const json_t *headers = json_object_get(message, "headers");
	const json_t *body = json_object_get(message, "body");
	struct buf target = {0};
	bool declares_length = false;
	char length[24];

	if (r->correlation_id == NULL || !json_is_string(path) || !json_is_string(query) ||
	    !json_is_string(method) || !json_is_string(headers) || !json_is_string(body) ||
	    json_string_length(path) > PATH_MAX_BYTES ||
	    json_string_length(method) > PATH_MAX_BYTES)
		return false;
	r->body = b64_decode(json_string_value(body), json_string_length(body), &r->body_bytes);
	put_path(&target, path);
	bool good = r->body != NULL && put_query(&target, query);
	head_add_bytes(&r->head, ":method", 7, json_string_value(method),
		       json_string_length(method));
	head_add_bytes(&r->head, ":target", 7, buf_first(&target), buf_bytes(&target));
	buf_fini(&target);
	struct head fields = {0};
	good = good && add_headers(&fields, headers, &declares_length);
	if (r->body_bytes > 0 || declares_length) {
		snprintf(length, sizeof length, "%zu", r->body_bytes);
		head_add(&r->head, ":length", length);
	}
	head_append(&r->head, &fields);
	head_fini(&fields);
	return good;
}

/* Returns the last byte of the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++) {
		if (*at == '\\' && end - at > 1)
			at++;
	}
	return at < end ? at : end - 1;
}

/* Counts before parsing: 16 MiB of "{},{}," would take more than a gigabyte when parsed. */
static bool is_within_limits(const char *json, size_t bytes)
{
	const char *end = json + bytes;
	size_t depth = 0, members = 0;

	for (const char *at = json; at < end; at++) {
		if (*at == '"') {
			at = skip_string(at, end);
		} else if (*at == '{' || *at == '[') {
			depth++;
			members++;
		} else if (*at == '}' || *at == ']') {
			depth -= depth > 0;
		} else if (*at == ',') {
			members++;
		}
		if (depth > DEPTH_MAX || members > MEMBERS_MAX)
			return false;
	}
	return true;
}

bool v1_request_read(struct v1_request *r, const void *json, size_t bytes)
{
	json_t *message = NULL;

	if (is_within_limits(json, bytes))
		message = json_loadb(json, bytes, JSON_ALLOW_NUL, NULL);

	r->correlation_id = read_correlation_id(message);
	bool good = read_fields(r, message);
	json_decref(message);
	return good;
}

void v1_request_fini(struct v1_request *r)
{
	free(r->correlation_id);
	head_fini(&r->head);
	free(r->body);
	*r = (struct v1_request){0};
}

/* --- a response message --- */

/* Changes `name` to a spelling that the object does not have yet. Several Set-Cookie fields cannot
 * be joined (RFC 9110 5.3), but HTTP names ignore case and JSON names do not. */
static bool choose_other_spelling(const json_t *headers, char *name)
{
	size_t bytes = strlen(name);

	for (unsigned bits = 1; bits < 256; bits++) {
		for (size_t i = 0, bit = 0; i < bytes && bit < 8; i++) {
			bool is_letter = (name[i] | 32) >= 'a' && (name[i] | 32) <= 'z';
			if (!is_letter)
				continue;
			name[i] = (char)((bits >> bit & 1) ? name[i] & ~32 : name[i] | 32);
			bit++;
		}
		if (json_object_get(headers, name) == NULL)
			return true;
	}
	return false;
}

/* Makes a JSON string of any bytes, read as UTF-8 or else as Latin-1. */
static json_t *json_text(const char *text, size_t bytes)
{
	json_t *string = json_stringn(text, bytes);

	if (string != NULL)
		return string;
	size_t utf8_bytes;
	char *utf8 = utf8_from_latin1(text, bytes, &utf8_bytes);
	string = json_stringn_nocheck(utf8, utf8_bytes);
	free(utf8);
	return string;
}

static void add_response_header(json_t *headers, const struct head_field *f)
{
	char *name = strndup(f->name, f->name_bytes);
	json_t *value = json_text(f->value, f->value_bytes);

	CHECK(name != NULL);
	for (char *at = name; *at; at++)
		*at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
	const json_t *earlier = json_object_get(headers, name);
	if (earlier != NULL && strcmp(name, "set-cookie") != 0) {
		json_t *joined = json_sprintf("%s, %s", json_string_value(earlier),
					      json_string_value(value));
		json_decref(value);
		value = joined;
	} else if (earlier != NULL && !choose_other_spelling(headers, name)) {
		json_decref(value);
		value = NULL;
	}
	if (value != NULL)
		json_object_set_new(headers, name, value);
	free(name);
}

static json_t *response_headers(const struct head *head)
{
	json_t *headers = json_object();
	struct head_reader r;
	struct head_field f;

	head_reader_init(&r, head->data, head->bytes);
	while (head_next(&r, &f) == 1) {
		if (f.name[0] != ':')
			add_response_header(headers, &f);
	}
	return headers;
}

static void put_text(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

void v1_response_write(struct buf *out, const struct v1_response *r)
{
	json_t *headers = response_headers(r->head);
	char *headers_text = json_dumps(headers, JSON_COMPACT);
	json_t *message = json_pack("{s:s, s:s, s:i}", "correlation_id", r->correlation_id,
				    "headers", headers_text, "status_code", r->status);
	char *text = json_dumps(message, JSON_COMPACT);

	CHECK(text != NULL);
	text[strlen(text) - 1] = '\0'; /* removes the brace */
	put_text(out, text);
	put_text(out, ",\"body\":\"");
	if (r->body_bytes > 0)
		b64_encode_piece(r->body, r->body_bytes,
				 (char *)buf_extend(out, (r->body_bytes + 2) / 3 * 4));
	put_text(out, "\"}");
	json_decref(message);
	json_decref(headers);
	free(headers_text);
	free(text);
}

const char *v1_library_version(void)
{
	return JANSSON_VERSION;
}

char *v1_json_text(const void *json, size_t bytes, const char *member)
{
	json_t *root = bytes > 0 ? json_loadb(json, bytes, 0, NULL) : NULL;
	const char *value = json_string_value(json_object_get(root, member));
	char *text = value != NULL ? xstrdup(value) : NULL;

	json_decref(root);
	return text;
}
