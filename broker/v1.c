/* broker/v1.c - The codec of tunnel protocol v1 (common/PROTOCOL.md, "Tunnel v1"), broker's side: the
 * original's JSON messages with whole bodies in base64. Of the tunnel codecs only this file knows JSON.
 *
 * The core hands out streams; v1 gathers a request until it is whole, and gives the answer in one. */
#include "broker/tunnel.h"
#include "common/b64.h"
#include "common/head.h"
#include "common/http.h"
#include "common/log.h"
#include "common/query.h"
#include "common/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MESSAGE_IN_MAX_BYTES = 16 * 1024 * 1024,
	FRAGMENT_BYTES = 64 * 1024,
};

static void start(struct tunnel *t)
{
	tunnel_opened(t); /* v1 has no greeting */
}

static void goodbye(struct tunnel *t)
{
	(void)t; /* nor a goodbye */
}

static enum fail refuses(const struct tunnel *t, const struct exchange *x)
{
	static const char *const methods[] = {"GET",   "POST",	  "PUT", "DELETE",
					      "PATCH", "OPTIONS", "HEAD"};
	struct head_field f;

	(void)t;
	if (head_find(buf_first(&x->head), buf_bytes(&x->head), ":upgrade", &f) ||
	    !head_find(buf_first(&x->head), buf_bytes(&x->head), ":method", &f))
		return FAIL_UNSUPPORTED;
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (f.value_bytes == strlen(methods[i]) &&
		    memcmp(f.value, methods[i], f.value_bytes) == 0)
			return FAIL_NONE;
	}
	return FAIL_UNSUPPORTED;
}

/* --- the way down --- */

/* The most body bytes that can fit in a message, base64 being 4 for 3. */
static int64_t body_max_bytes(const struct tunnel *t)
{
	return t->hub->config->v1_message_bytes / 4 * 3;
}

static void more(struct tunnel *t, struct exchange *x)
{
	int64_t most = body_max_bytes(t);

	if ((int64_t)buf_bytes(&x->up) > most || x->body_total_bytes > most)
		exchange_fail(x, FAIL_BODY_TOO_LARGE);
	else if (x->up_end)
		tunnel_ready(t, x);
}

static int64_t credit(const struct tunnel *t, const struct exchange *x)
{
	/* One byte over the bound is let in: it is what tells that the body is too large. */
	return body_max_bytes(t) + 1 - (int64_t)buf_bytes(&x->up);
}

static void consumed(struct tunnel *t, struct exchange *x, size_t bytes)
{
	(void)t;
	(void)x;
	(void)bytes;
}

static void cancel(struct tunnel *t, struct exchange *x, enum fail f)
{
	(void)t; /* v1 cannot say it: the client's late answer will name no exchange */
	(void)x;
	(void)f;
}

static void detach(struct tunnel *t, struct exchange *x)
{
	(void)t;
	(void)x;
}

/* A JSON string of any bytes: as UTF-8, or else read as Latin-1. */
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

/* Repeated names are joined: a JSON object has each name once. */
static void add_header(json_t *headers, const struct head_field *f)
{
	char name[256];
	const char *glue = field_is(f, "cookie") ? "; " : ", ";

	if (f->name_bytes >= sizeof name)
		return;
	memcpy(name, f->name, f->name_bytes);
	name[f->name_bytes] = '\0';
	json_t *value = json_text(f->value, f->value_bytes);
	const json_t *earlier = json_object_get(headers, name);
	if (earlier != NULL) {
		json_t *joined = json_sprintf("%s%s%s", json_string_value(earlier), glue,
					      json_string_value(value));
		json_decref(value);
		value = joined;
	}
	json_object_set_new(headers, name, value);
}

static json_t *headers_object(const struct exchange *x)
{
	json_t *headers = json_object();
	struct head_reader r;
	struct head_field f;

	head_reader_init(&r, buf_first(&x->head), buf_bytes(&x->head));
	while (head_next(&r, &f) == 1) {
		if (f.name[0] != ':' && !field_is(&f, "accept-encoding"))
			add_header(headers, &f);
	}
	/* The original's client decodes compressed bodies and keeps their headers. */
	json_object_set_new(headers, "accept-encoding", json_string("identity"));
	if (buf_bytes(&x->up) > 0 || x->body_total_bytes == 0) {
		json_t *length = json_sprintf("%zu", buf_bytes(&x->up));
		json_object_set_new(headers, "content-length", length);
	}
	return headers;
}

static void add_pair(void *list, const char *key, size_t key_bytes, const char *value,
		     size_t value_bytes)
{
	json_array_append_new(list, json_pack("[o, o]", json_text(key, key_bytes),
					      json_text(value, value_bytes)));
}

/* Dumps a value and packs the text as a JSON string, as v1 wants it; frees the value. */
static json_t *as_string(json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	json_t *string = json_string_nocheck(text ? text : "");

	free(text);
	json_decref(value);
	return string;
}

static json_t *correlation_uuid(const struct exchange *x)
{
	const uint8_t *c = x->corr;

	return json_sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			    c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10],
			    c[11], c[12], c[13], c[14], c[15]);
}

/* The request as text; the caller frees it. NULL: it cannot be said in JSON. */
static char *encode_request(const struct exchange *x)
{
	struct head_field method, target;

	if (!head_find(buf_first(&x->head), buf_bytes(&x->head), ":method", &method) ||
	    !head_find(buf_first(&x->head), buf_bytes(&x->head), ":target", &target) ||
	    target.value_bytes == 0)
		return NULL;
	const char *path = target.value + 1;
	size_t rest = target.value_bytes - 1;
	const char *question = memchr(path, '?', rest);
	size_t path_bytes = question ? (size_t)(question - path) : rest;
	json_t *pairs = json_array();
	if (question != NULL)
		query_parse(question + 1, rest - path_bytes - 1, add_pair, pairs);

	size_t body_bytes;
	char *body = b64_encode(buf_first(&x->up), buf_bytes(&x->up), &body_bytes);
	json_t *message = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o}", "correlation_id", correlation_uuid(x), "url_path",
		json_text(path, path_bytes), "url_query", as_string(pairs), "method",
		json_text(method.value, method.value_bytes), "headers",
		as_string(headers_object(x)), "body", json_stringn_nocheck(body, body_bytes));
	free(body);
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	json_decref(message);
	return text;
}

static bool method_is_head(const struct exchange *x)
{
	struct head_field f;

	return head_find(buf_first(&x->head), buf_bytes(&x->head), ":method", &f) &&
	       f.value_bytes == 4 && memcmp(f.value, "HEAD", 4) == 0;
}

/* Turns the next ready exchange into the message under way. False: there is none. */
static bool load_message(struct tunnel *t)
{
	struct exchange *x;

	while ((x = TAILQ_FIRST(&t->ready)) != NULL) {
		char *text = encode_request(x);
		size_t bytes = text ? strlen(text) : 0;
		tunnel_unready(t, x);
		if (text == NULL) {
			exchange_fail(x, FAIL_BAD_REQUEST);
		} else if (bytes > (size_t)t->hub->config->v1_message_bytes) {
			exchange_fail(x, FAIL_BODY_TOO_LARGE);
		} else {
			buf_append(&t->out, text, bytes);
			t->out_begun = false;
			x->sent = true;
			x->is_head = method_is_head(x);
			buf_fini(&x->head);
			buf_fini(&x->up);
			exchange_progress(x);
			free(text);
			return true;
		}
		free(text);
	}
	return false;
}

static size_t pull(struct tunnel *t, uint8_t *out, bool *first, bool *final)
{
	if (buf_bytes(&t->out) == 0 && !load_message(t))
		return 0;
	size_t bytes = buf_bytes(&t->out);
	if (bytes > FRAGMENT_BYTES)
		bytes = FRAGMENT_BYTES;
	memcpy(out, buf_first(&t->out), bytes);
	buf_consume(&t->out, bytes);
	*first = !t->out_begun;
	*final = buf_bytes(&t->out) == 0;
	t->out_begun = !*final;
	return bytes;
}

/* --- the way up --- */

/* Any spelling of a UUID: dashes, braces and "urn:uuid:" do not count (RFC 4122 3). */
static bool uuid_parse(const char *text, size_t bytes, uint8_t out[CORR_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	const char *end = text + bytes;
	size_t digits = 0;

	if (bytes > 9 && strncasecmp(text, "urn:uuid:", 9) == 0)
		text += 9;
	for (; text < end; text++) {
		if (*text == '-' || *text == '{' || *text == '}')
			continue;
		const char *at = memchr(hex, *text >= 'A' && *text <= 'F' ? *text + 32 : *text, 16);
		if (at == NULL || digits == 2 * CORR_BYTES)
			return false;
		uint8_t value = (uint8_t)(at - hex);
		if (digits % 2 == 0)
			out[digits / 2] = (uint8_t)(value << 4);
		else
			out[digits / 2] |= value;
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
static bool coding_is_gone(const json_t *codings, const uint8_t *body, size_t bytes)
{
	struct head_field list = {.value = json_string_value(codings),
				  .value_bytes = json_string_length(codings)};
	struct head_field coding, last = {0};

	while (http_list_next(&list, &coding)) {
		if (coding.name_bytes == 0 || field_is(&coding, "identity"))
			continue;
		if (!field_is(&coding, "gzip") && !field_is(&coding, "x-gzip") &&
		    !field_is(&coding, "deflate") && !field_is(&coding, "zstd"))
			return false;
		last = coding;
	}
	return last.name != NULL && !begins_like(&last, body, bytes);
}

struct answer {
	int status;
	uint8_t *body; /* owned */
	size_t body_bytes;
	json_t *headers; /* owned; an object */
};

static void answer_fini(struct answer *a)
{
	free(a->body);
	json_decref(a->headers);
}

/* False: some field is missing or of the wrong kind. */
static bool answer_parse(const json_t *message, struct answer *a)
{
	const json_t *body = json_object_get(message, "body");
	const json_t *headers = json_object_get(message, "headers");
	const char *key;
	json_t *value;

	if (!status_parse(json_object_get(message, "status_code"), &a->status) ||
	    !json_is_string(body) || !json_is_string(headers))
		return false;
	a->body = b64_decode(json_string_value(body), json_string_length(body), &a->body_bytes);
	if (a->body == NULL)
		return false;
	if (json_string_length(headers) == 0)
		a->headers = json_object();
	else
		a->headers = json_loadb(json_string_value(headers), json_string_length(headers),
					JSON_ALLOW_NUL, NULL);
	if (!json_is_object(a->headers))
		return false;
	json_object_foreach (a->headers, key, value) {
		if (*key == '\0' || *key == ':' || strlen(key) > 1024 || !json_is_string(value) ||
		    !http_value_valid(json_string_value(value), json_string_length(value)))
			return false;
	}
	return true;
}

/* `bodiless`: the answer says what it would be with a body (RFC 9110 6.4.1). */
static void answer_head(const struct answer *a, bool bodiless, struct head *out)
{
	const char *key;
	json_t *value;
	char number[24];

	snprintf(number, sizeof number, "%d", a->status);
	head_add(out, ":status", number);
	json_object_foreach (a->headers, key, value) {
		bool stale = !bodiless && (strcasecmp(key, "content-length") == 0 ||
					   (strcasecmp(key, "content-encoding") == 0 &&
					    coding_is_gone(value, a->body, a->body_bytes)));
		if (!stale)
			head_add_bytes(out, key, strlen(key), json_string_value(value),
				       json_string_length(value));
	}
	if (!bodiless) {
		snprintf(number, sizeof number, "%zu", a->body_bytes);
		head_add(out, "content-length", number);
	}
}

static void deliver(struct exchange *x, const json_t *message)
{
	struct answer a = {0};
	struct head head = {0};

	if (!answer_parse(message, &a)) {
		exchange_fail(x, FAIL_BAD_RESPONSE);
		answer_fini(&a);
		return;
	}
	bool bodiless = x->is_head || a.status == 204 || a.status == 304;
	answer_head(&a, bodiless, &head);
	if (head.bytes > FRAME_REQUEST_HEAD_MAX_BYTES) {
		exchange_fail(x, FAIL_BAD_RESPONSE);
	} else {
		exchange_on_head(x, head.data, head.bytes);
		exchange_on_data(x, a.body, bodiless ? 0 : a.body_bytes);
		exchange_on_end(x);
	}
	head_fini(&head);
	answer_fini(&a);
}

static void receive(struct tunnel *t, const uint8_t *data, size_t bytes)
{
	/* Integers as reals: a status of 10^30 is a wrong status, not a JSON error. */
	json_t *message = json_loadb((const char *)data, bytes,
				     JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	const json_t *id = json_object_get(message, "correlation_id");
	uint8_t corr[CORR_BYTES];
	struct exchange *x = NULL;

	if (json_is_string(id) && uuid_parse(json_string_value(id), json_string_length(id), corr))
		x = exchange_find(t->hub, corr);
	if (x == NULL || x->tunnel != t || !x->sent)
		log_limited_warn(t->id, "tunnel.message_ignored conn=%s tunnel=%llu why=\"%s\"",
				 t->id, (unsigned long long)t->number,
				 message == NULL ? "not JSON" : "names no running exchange");
	else
		deliver(x, message);
	json_decref(message);
}

const struct codec codec_v1 = {
	.name = "v1",
	.start = start,
	.goodbye = goodbye,
	.refuses = refuses,
	.more = more,
	.credit = credit,
	.consumed = consumed,
	.cancel = cancel,
	.detach = detach,
	.pull = pull,
	.receive = receive,
	.max_message_bytes = MESSAGE_IN_MAX_BYTES,
	.text = true,
};
