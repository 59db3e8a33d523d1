/* broker/v1_request.c - see v1_request.h. */
#include "broker/v1_request.h"

#include "common/head.h"
#include "common/query.h"
#include "common/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Text under construction. Once memory is missing, the rest is skipped. */
struct text {
	struct buf buf;
	bool failed;
	bool first; /* of the list or object that is being written: no comma goes before it */
};

static void put_bytes(struct text *t, const void *data, size_t bytes)
{
	t->failed = t->failed || !buf_try_append(&t->buf, data, bytes);
}

static void put(struct text *t, const char *text)
{
	put_bytes(t, text, strlen(text));
}

static void put_escaped(struct text *t, char c)
{
	static const char shorts[] =
		"\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: the character, its letter */
	char escape[8];

	for (size_t i = 0; i < sizeof shorts - 1; i += 2) {
		if (shorts[i] == c) {
			put_bytes(t, (const char[]){'\\', shorts[i + 1]}, 2);
			return;
		}
	}
	snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)c);
	put(t, escape);
}

/* The inside of a JSON string (RFC 8259 section 7): valid UTF-8 with its escapes. */
static void put_inside(struct text *t, const char *text, size_t bytes)
{
	size_t done = 0;

	for (size_t i = 0; i < bytes; i++) {
		if ((unsigned char)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\')
			continue;
		put_bytes(t, text + done, i - done);
		put_escaped(t, text[i]);
		done = i + 1;
	}
	put_bytes(t, text + done, bytes - done);
}

/* Bytes of any kind inside a JSON string: as UTF-8, or else read as Latin-1. */
static void put_any_inside(struct text *t, const char *text, size_t bytes)
{
	if (utf8_valid(text, bytes)) {
		put_inside(t, text, bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];
		const char two[] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
		if (c < 0x80)
			put_inside(t, text + i, 1);
		else
			put_bytes(t, two, 2);
	}
}

static void put_comma(struct text *t)
{
	if (!t->first)
		put(t, ",");
	t->first = false;
}

static void put_pair(void *ctx, const char *key, size_t key_bytes, const char *value,
		     size_t value_bytes)
{
	struct text *t = ctx;

	put_comma(t);
	put(t, "[\"");
	put_inside(t, key, key_bytes);
	put(t, "\",\"");
	put_inside(t, value, value_bytes);
	put(t, "\"]");
}

static void write_query(struct text *t, const char *query, size_t bytes)
{
	t->first = true;
	put(t, "[");
	if (query != NULL && !query_parse(query, bytes, put_pair, t))
		t->failed = true;
	put(t, "]");
}

/* --- headers: a JSON object has each name once, so fields of one name are joined --- */

struct field {
	struct head_field f;
	size_t number;	    /* its place in the head */
	struct field *next; /* the next one of the same name */
	bool leads;	    /* the first one of its name */
};

static int by_name(const void *a, const void *b)
{
	const struct field *x = a, *y = b;

	if (x->f.name_bytes != y->f.name_bytes)
		return x->f.name_bytes < y->f.name_bytes ? -1 : 1;
	int order = strncasecmp(x->f.name, y->f.name, x->f.name_bytes);
	return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

static int by_place(const void *a, const void *b)
{
	const struct field *const *x = a, *const *y = b;

	return ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

static bool is_header(const struct head_field *f)
{
	return f->name[0] != ':' && f->name_bytes < 256 && !field_is(f, "accept-encoding") &&
	       !field_is(f, "content-length");
}

static size_t count_fields(const struct v1_request *r)
{
	struct head_reader reader;
	struct head_field f;
	size_t count = 0;

	head_reader_init(&reader, r->head, r->head_bytes);
	while (head_next(&reader, &f) == 1)
		count += is_header(&f);
	return count;
}

/* Sorted by name, so that the cost is not the square of their number. */
static void collect(const struct v1_request *r, struct field *fields, size_t count)
{
	struct head_reader reader;
	struct head_field f;
	size_t i = 0;

	head_reader_init(&reader, r->head, r->head_bytes);
	while (head_next(&reader, &f) == 1) {
		if (is_header(&f)) {
			fields[i] = (struct field){.f = f, .number = i};
			i++;
		}
	}
	qsort(fields, count, sizeof *fields, by_name);
	for (i = 0; i < count; i++) {
		bool same = i > 0 && fields[i].f.name_bytes == fields[i - 1].f.name_bytes &&
			    strncasecmp(fields[i].f.name, fields[i - 1].f.name,
					fields[i].f.name_bytes) == 0;
		fields[i].leads = !same;
		if (same)
			fields[i - 1].next = &fields[i];
	}
}

static void put_header(struct text *t, const struct field *field)
{
	const char *glue = field_is(&field->f, "cookie") ? "; " : ", ";

	put_comma(t);
	put(t, "\"");
	put_any_inside(t, field->f.name, field->f.name_bytes);
	put(t, "\":\"");
	for (const struct field *f = field; f != NULL; f = f->next) {
		if (f != field)
			put(t, glue);
		put_any_inside(t, f->f.value, f->f.value_bytes);
	}
	put(t, "\"");
}

static void write_fields(struct text *t, const struct v1_request *r)
{
	size_t count = count_fields(r), leaders = 0;
	struct field *fields = calloc(count + 1, sizeof *fields);
	struct field **order = calloc(count + 1, sizeof *order);

	if (fields == NULL || order == NULL) {
		t->failed = true;
	} else {
		collect(r, fields, count);
		for (size_t i = 0; i < count; i++) {
			if (fields[i].leads)
				order[leaders++] = &fields[i];
		}
		qsort(order, leaders, sizeof(struct field *), by_place);
		for (size_t i = 0; i < leaders; i++)
			put_header(t, order[i]);
	}
	free(order);
	free(fields);
}

static void write_headers(struct text *t, const struct v1_request *r)
{
	char length[48];

	t->first = true;
	put(t, "{");
	write_fields(t, r);
	put_comma(t);
	/* The original's client decodes compressed bodies and keeps their headers. */
	put(t, "\"accept-encoding\":\"identity\"");
	if (r->body_bytes > 0 || r->has_length) {
		snprintf(length, sizeof length, ",\"content-length\":\"%zu\"", r->body_bytes);
		put(t, length);
	}
	put(t, "}");
}

/* --- the message --- */

static void put_member(struct text *t, const char *name, const struct text *value)
{
	put(t, name);
	put_inside(t, (const char *)buf_first(&value->buf), buf_bytes(&value->buf));
	put(t, "\"");
	t->failed = t->failed || value->failed;
}

static void put_uuid(struct text *t, const uint8_t *c)
{
	char text[40];

	snprintf(text, sizeof text,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", c[0], c[1],
		 c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13], c[14],
		 c[15]);
	put(t, text);
}

static void write_message(struct text *t, const struct v1_request *r,
			  const struct head_field *method, const struct head_field *target)
{
	const char *path = target->value + 1;
	size_t rest = target->value_bytes - 1;
	const char *question = memchr(path, '?', rest);
	size_t path_bytes = question ? (size_t)(question - path) : rest;
	struct text query = {0}, headers = {0};

	put(t, "{\"correlation_id\":\"");
	put_uuid(t, r->corr);
	put(t, "\",\"url_path\":\"");
	put_any_inside(t, path, path_bytes);
	write_query(&query, question ? question + 1 : NULL, question ? rest - path_bytes - 1 : 0);
	put_member(t, "\",\"url_query\":\"", &query);
	put(t, ",\"method\":\"");
	put_any_inside(t, method->value, method->value_bytes);
	write_headers(&headers, r);
	put_member(t, "\",\"headers\":\"", &headers);
	put(t, ",\"body\":\"");
	buf_fini(&query.buf);
	buf_fini(&headers.buf);
}

enum fail v1_request_write(const struct v1_request *r, struct buf *out)
{
	struct head_field method, target;
	struct text t = {.buf = *out};

	if (!head_find(r->head, r->head_bytes, ":method", &method) ||
	    !head_find(r->head, r->head_bytes, ":target", &target) || target.value_bytes == 0)
		return FAIL_BAD_REQUEST;
	write_message(&t, r, &method, &target);
	*out = t.buf;
	return t.failed ? FAIL_OVERLOADED : FAIL_NONE;
}

enum fail v1_request_refusal(const void *head, size_t bytes)
{
	static const char *const methods[] = {"GET",   "POST",	  "PUT", "DELETE",
					      "PATCH", "OPTIONS", "HEAD"};
	struct head_field f;

	if (head_find(head, bytes, ":upgrade", &f) || !head_find(head, bytes, ":method", &f))
		return FAIL_UNSUPPORTED;
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (f.value_bytes == strlen(methods[i]) &&
		    memcmp(f.value, methods[i], f.value_bytes) == 0)
			return FAIL_NONE;
	}
	return FAIL_UNSUPPORTED;
}
