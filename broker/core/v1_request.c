/* broker/core/v1_request.c - see v1_request.h. Of the tunnel codecs, this file writes JSON with
 * jansson and v1_response.c reads it; no other one includes jansson.h. */
#include "broker/core/v1_request.h"

#include "common/head.h"
#include "common/http.h"
#include "common/id.h"
#include "common/query.h"
#include "common/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* For json_dump_callback(). */
static int append_dump(const char *text, size_t bytes, void *out)
{
	return buf_try_append(out, text, bytes) ? 0 : -1;
}

/* Consumes the reference to `json`, which may be NULL. False: no memory. */
static bool dump(json_t *json, struct buf *out)
{
	bool good = json != NULL && json_dump_callback(json, append_dump, out, JSON_COMPACT) == 0;

	json_decref(json);
	return good;
}

/* Appends bytes of any kind as UTF-8; if they are not valid UTF-8, they are read as Latin-1. */
static bool append_text(struct buf *out, const char *text, size_t bytes)
{
	if (utf8_valid(text, bytes))
		return buf_try_append(out, text, bytes);
	uint8_t *room = buf_try_extend(out, utf8_latin1_max_bytes(bytes));
	if (room == NULL)
		return false;
	size_t used = utf8_from_latin1_to((char *)room, text, bytes);
	buf_shrink(out, utf8_latin1_max_bytes(bytes) - used);
	return true;
}

/* The characters of `b`, for jansson, which takes a NULL for a mistake. */
static const char *text_of(const struct buf *b)
{
	return buf_bytes(b) > 0 ? (const char *)buf_first(b) : "";
}

/* --- the query --- */

struct query {
	json_t *pairs;
	enum fail fail;
};

static void add_pair(void *ctx, const char *key, size_t key_bytes, const char *value,
		     size_t value_bytes)
{
	struct query *q = ctx;

	if (q->fail != FAIL_NONE)
		return;
	if (json_array_size(q->pairs) == V1_REQUEST_PAIRS_MAX)
		q->fail = FAIL_BAD_REQUEST;
	else if (json_array_append_new(
			 q->pairs, json_pack("[s%s%]", key, key_bytes, value, value_bytes)) != 0)
		q->fail = FAIL_OVERLOADED;
}

static enum fail write_query(const char *query, size_t bytes, struct buf *out)
{
	struct query q = {.pairs = json_array()};

	if (q.pairs == NULL || !query_parse(query, bytes, add_pair, &q))
		q.fail = FAIL_OVERLOADED;
	if (q.fail == FAIL_NONE)
		return dump(q.pairs, out) ? FAIL_NONE : FAIL_OVERLOADED;
	json_decref(q.pairs);
	return q.fail;
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

/* Adds the fields of one name, beginning with `first`, to the object. */
static bool add_header(json_t *headers, const struct field *first)
{
	const char *glue = field_is(&first->f, "cookie") ? "; " : ", ";
	struct buf name = {0}, value = {0};
	bool good = append_text(&name, first->f.name, first->f.name_bytes) &&
		    buf_try_append(&name, "", 1);

	for (const struct field *f = first; good && f != NULL; f = f->next)
		good = (f == first || buf_try_append(&value, glue, 2)) &&
		       append_text(&value, f->f.value, f->f.value_bytes);
	good = good && json_object_set_new(headers, text_of(&name),
					   json_stringn(text_of(&value), buf_bytes(&value))) == 0;
	buf_fini(&name);
	buf_fini(&value);
	return good;
}

static bool add_fields(json_t *headers, const struct v1_request *r)
{
	size_t count = count_fields(r), leaders = 0;
	struct field *fields = calloc(count + 1, sizeof *fields);
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
	struct field **order = calloc(count + 1, sizeof *order);
	bool good = fields != NULL && order != NULL;

	if (good) {
		collect(r, fields, count);
		for (size_t i = 0; i < count; i++) {
			if (fields[i].leads)
				order[leaders++] = &fields[i];
		}
		qsort(order, leaders, sizeof(struct field *), by_place);
	}
	for (size_t i = 0; good && i < leaders; i++)
		good = add_header(headers, order[i]);
	free(order);
	free(fields);
	return good;
}

static bool write_headers(const struct v1_request *r, struct buf *out)
{
	json_t *headers = json_object();
	/* The original's client decodes compressed bodies and keeps their headers. */
	bool good = headers != NULL && add_fields(headers, r) &&
		    json_object_set_new(headers, "accept-encoding", json_string("identity")) == 0;

	if (good && (r->body_bytes > 0 || r->has_length))
		good = json_object_set_new(headers, "content-length",
					   json_sprintf("%zu", r->body_bytes)) == 0;
	if (good)
		return dump(headers, out);
	json_decref(headers);
	return false;
}

/* --- the message --- */

/* The members of the message as text. */
struct members {
	char corr[40];
	struct buf path, query, method, headers;
};

static void write_uuid(const uint8_t *corr, char *out, size_t room)
{
	char hex[2 * CORR_BYTES + 1];

	id_to_hex(corr, CORR_BYTES, hex);
	snprintf(out, room, "%.8s-%.4s-%.4s-%.4s-%s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static enum fail write_members(const struct v1_request *r, const struct head_field *method,
			       const struct head_field *target, struct members *m)
{
	const char *path = target->value + 1, *end = target->value + target->value_bytes;
	const char *question = memchr(path, '?', (size_t)(end - path));
	const char *path_end = question ? question : end;
	const char *query = question ? question + 1 : end;

	write_uuid(r->corr, m->corr, sizeof m->corr);
	if (!append_text(&m->path, path, (size_t)(path_end - path)) ||
	    !append_text(&m->method, method->value, method->value_bytes) ||
	    !write_headers(r, &m->headers))
		return FAIL_OVERLOADED;
	return write_query(query, (size_t)(end - query), &m->query);
}

/* Writes the message with an empty body, which is its last member, and takes its tail off. */
static bool write_message(const struct members *m, struct buf *out)
{
	const size_t tail_bytes = strlen(V1_REQUEST_TAIL);
	json_t *message = json_pack("{s:s, s:s%, s:s%, s:s%, s:s%, s:s}", "correlation_id", m->corr,
				    "url_path", text_of(&m->path), buf_bytes(&m->path), "url_query",
				    text_of(&m->query), buf_bytes(&m->query), "method",
				    text_of(&m->method), buf_bytes(&m->method), "headers",
				    text_of(&m->headers), buf_bytes(&m->headers), "body", "");

	if (!dump(message, out))
		return false;
	CHECK(memcmp(out->data + out->end - tail_bytes, V1_REQUEST_TAIL, tail_bytes) == 0);
	buf_shrink(out, tail_bytes);
	return true;
}

enum fail v1_request_write(const struct v1_request *r, struct buf *out)
{
	struct head_field method, target;
	struct members m = {0};

	if (!head_find(r->head, r->head_bytes, ":method", &method) ||
	    !head_find(r->head, r->head_bytes, ":target", &target) || target.value_bytes == 0)
		return FAIL_BAD_REQUEST;
	enum fail f = write_members(r, &method, &target, &m);
	if (f == FAIL_NONE && !write_message(&m, out))
		f = FAIL_OVERLOADED;
	buf_fini(&m.path);
	buf_fini(&m.query);
	buf_fini(&m.method);
	buf_fini(&m.headers);
	return f;
}

enum fail v1_request_refusal(const void *head, size_t bytes)
{
	struct head_field f;

	if (head_find(head, bytes, ":upgrade", &f) || !head_find(head, bytes, ":method", &f))
		return FAIL_UNSUPPORTED;
	return http_method_of_v1(f.value, f.value_bytes) ? FAIL_NONE : FAIL_UNSUPPORTED;
}
