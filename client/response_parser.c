/* client/response_parser.c - see response_parser.h.
 *
 *   HEAD --1xx--> HEAD again
 *     '--> nothing more, PLAIN, DATA,
 *          or SIZE > DATA > DATA_END > SIZE > ... > TRAILERS --> complete
 *
 * http_parser parses the bytes, behind two guards. It accepts lines that RFC 9112 does not (Debian
 * builds it without its strict mode), so response_guard.h checks them first. And it would decide
 * where the body ends by other rules than response_head.h, so the name of each field is passed to
 * it with DISGUISE in front: it does not know these names. */
#include "client/response_parser.h"

#include "client/host_hint.h"
#include "client/response_guard.h"
#include "client/response_head.h"
#include "common/buf.h"
#include "common/http.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	INTERIM_MAX = 64, /* 1xx responses before the final one */
};

struct response_parser {
	const struct target *target; /* NULL: not an app */
	struct host_hint *hint;
	struct response_events events;
	void *ctx;
	enum response_to to;
	enum response_state state;
	const char *fault; /* the first one; NULL: none */
	bool continues;	   /* 100 has come */
	size_t interim_count;
	http_parser parser;
	struct response_guard guard;
	uint64_t left_bytes; /* PART_DATA */

	struct response_head head; /* the final head */

	/* The current head. */
	bool interim_over;
	struct buf name, value;
	struct head fields;
};

#define DISGUISE "x"

/* Returns false, so that callers can return the result. */
static bool fault(struct response_parser *r, const char *what)
{
	if (r->fault == NULL)
		r->fault = what;
	return false;
}

static bool fault_head_size(struct response_parser *r)
{
	/* NOLINTNEXTLINE(misc-redundant-expression): as long as it holds */
	_Static_assert(HEAD_MAX_BYTES == 64 * 1024, "the words below");
	return fault(r, "a head larger than 64 KiB");
}

/* --- callbacks of the parser: not 0 is a fault --- */

/* Adds the complete field, if any. Returns false if it is not acceptable. */
static bool field_ends(struct response_parser *r)
{
	const char *name = (const char *)buf_first(&r->name);
	const char *value = buf_bytes(&r->value) > 0 ? (const char *)buf_first(&r->value) : "";
	size_t name_bytes = buf_bytes(&r->name), value_bytes = buf_bytes(&r->value);

	if (name_bytes == 0)
		return true;
	while (value_bytes > 0 && (value[value_bytes - 1] == ' ' || value[value_bytes - 1] == '\t'))
		value_bytes--;
	bool good = http_token_valid(name + 1, name_bytes - 1) &&
		    (r->fields.bytes + name_bytes - 1 + value_bytes <= HEAD_MAX_BYTES ||
		     fault_head_size(r));
	if (good)
		head_add_bytes(&r->fields, name + 1, name_bytes - 1, value, value_bytes);
	buf_consume(&r->name, name_bytes);
	buf_consume(&r->value, buf_bytes(&r->value));
	return good;
}

static int on_name(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *r = p->data;

	if (r->guard.part == PART_TRAILERS)
		return bytes > 0 && !http_token_valid(at, bytes);
	buf_append(&r->name, at, bytes);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *r = p->data;

	if (r->guard.part != PART_TRAILERS)
		buf_append(&r->value, at, bytes);
	return 0;
}

static enum response_part body_part(const struct response_parser *r)
{
	if (r->head.framing == FRAMING_CHUNKED)
		return PART_SIZE;
	return r->head.framing == FRAMING_LENGTH ? PART_DATA : PART_PLAIN;
}

/* A 101 is accepted only in response to a handshake, and only for a WebSocket. */
static bool switch_protocol(struct response_parser *r)
{
	r->head = (struct response_head){.status = 101};
	return (r->to == RESPONSE_TO_HANDSHAKE && response_head_switches(&r->fields)) ||
	       fault(r, "a 101 that does not switch to a WebSocket");
}

static bool read_head(struct response_parser *r, int status)
{
	if (!response_head_read(&r->head, status, &r->fields, r->to == RESPONSE_TO_HEAD))
		return fault(r, "a body whose end is ambiguous");
	r->head.keeps_open = r->head.keeps_open && !r->guard.is_sloppy && r->parser.http_minor >= 1;
	return true;
}

static bool give_head(struct response_parser *r)
{
	struct head whole = {0};
	bool good = response_head_write(&r->head, r->target, &r->fields, &whole);

	if (good)
		r->events.head(r->ctx, &whole);
	head_fini(&whole);
	return good || fault(r, "too many names in Connection");
}

/* Returns 0: a body may follow. 1: it does not. 2: HTTP ends here. -1: a fault. */
static int on_headers_complete(http_parser *p)
{
	struct response_parser *r = p->data;
	int status = (int)p->status_code;

	if (!field_ends(r) || status < 100)
		return -1;
	if (status < 200 && status != 101) {
		r->continues = r->continues || status == 100;
		r->interim_over = true;
		if (++r->interim_count <= INTERIM_MAX)
			return 1;
		fault(r, "too many informational responses");
		return -1;
	}
	if (!(status == 101 ? switch_protocol(r) : read_head(r, status)) || !give_head(r)) {
		r->head.status = 0;
		return -1;
	}
	if (status == 101)
		return 2;
	r->left_bytes = r->head.body_bytes;
	response_guard_enter(&r->guard, body_part(r));
	p->flags |= r->head.framing == FRAMING_CHUNKED ? F_CHUNKED : 0;
	return r->head.framing == FRAMING_NONE ||
	       (r->head.framing == FRAMING_LENGTH && r->left_bytes == 0);
}

static int on_chunk_header(http_parser *p)
{
	struct response_parser *r = p->data;

	r->left_bytes = p->content_length;
	response_guard_enter(&r->guard, r->left_bytes > 0 ? PART_DATA : PART_TRAILERS);
	return r->left_bytes > INT64_MAX;
}

static int on_chunk_complete(http_parser *p)
{
	struct response_parser *r = p->data;

	response_guard_enter(&r->guard, PART_SIZE);
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *r = p->data;

	if (r->hint != NULL)
		host_hint_on_body(r->hint, r->target, r->head.status, at, bytes);
	if (!r->events.data(r->ctx, at, bytes)) {
		r->state = RESPONSE_STALLED;
		http_parser_pause(p, 1);
	}
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct response_parser *r = p->data;

	http_parser_pause(p, 1);
	if (!r->interim_over)
		r->state = r->head.status == 101 ? RESPONSE_SWITCHED : RESPONSE_COMPLETE;
	return 0;
}

/* --- input --- */

static void start_head(struct response_parser *r)
{
	http_parser_init(&r->parser, HTTP_RESPONSE);
	r->parser.data = r;
	response_guard_start_head(&r->guard);
	r->interim_over = false;
	head_clear(&r->fields);
	buf_consume(&r->name, buf_bytes(&r->name));
	buf_consume(&r->value, buf_bytes(&r->value));
}

static size_t execute(struct response_parser *r, const char *data, size_t bytes)
{
	static const http_parser_settings callbacks = {
		.on_header_field = on_name,
		.on_header_value = on_value,
		.on_headers_complete = on_headers_complete,
		.on_chunk_header = on_chunk_header,
		.on_chunk_complete = on_chunk_complete,
		.on_body = on_body,
		.on_message_complete = on_message_complete,
	};
	size_t used = http_parser_execute(&r->parser, &callbacks, data, bytes);

	if (r->state == RESPONSE_GOING && HTTP_PARSER_ERRNO(&r->parser) == HPE_PAUSED)
		start_head(r); /* the final response follows */
	else if (r->state == RESPONSE_GOING && HTTP_PARSER_ERRNO(&r->parser) != HPE_OK)
		r->state = RESPONSE_BAD;
	if (HTTP_PARSER_ERRNO(&r->parser) == HPE_HEADER_OVERFLOW)
		(void)fault_head_size(r);
	return used;
}

/* Reads a line, or as much of it as has arrived. */
static size_t read_line(struct response_parser *r, const char *data, size_t bytes)
{
	const char *end = memchr(data, '\n', bytes);
	size_t used = end != NULL ? (size_t)(end - data) + 1 : bytes;
	bool good = !response_guard_begins_field(&r->guard, *data) ||
		    (field_ends(r) && execute(r, DISGUISE, 1) == 1);

	if (good && response_guard_passes(&r->guard, data, used))
		return execute(r, data, used);
	r->state = RESPONSE_BAD;
	return used;
}

/* Reads a piece of a chunk, or of a body of known length. */
static size_t read_counted(struct response_parser *r, const char *data, size_t bytes)
{
	size_t used = bytes < r->left_bytes ? bytes : (size_t)r->left_bytes;

	r->left_bytes -= used;
	(void)execute(r, data, used);
	if (r->left_bytes == 0 && r->head.framing == FRAMING_CHUNKED)
		response_guard_enter(&r->guard, PART_DATA_END);
	else if (r->left_bytes == 0 && r->state == RESPONSE_GOING)
		r->state = RESPONSE_COMPLETE;
	return used;
}

static size_t step(struct response_parser *r, const char *data, size_t bytes)
{
	switch (r->guard.part) {
	case PART_PLAIN:
		return execute(r, data, bytes);
	case PART_DATA:
		return read_counted(r, data, bytes);
	default:
		return read_line(r, data, bytes);
	}
}

enum response_state response_parser_feed(struct response_parser *r, const void *data, size_t bytes,
					 size_t *used)
{
	const char *input = data;
	size_t at = 0;

	if (r->state == RESPONSE_STALLED) {
		bool is_over = r->guard.part == PART_DATA && r->left_bytes == 0;
		r->state = is_over ? RESPONSE_COMPLETE : RESPONSE_GOING;
		http_parser_pause(&r->parser, 0);
	}
	while (r->state == RESPONSE_GOING && at < bytes)
		at += step(r, input + at, bytes - at);
	*used = at;
	return r->state;
}

enum response_state response_parser_end(struct response_parser *r)
{
	if (r->state == RESPONSE_GOING && r->guard.part == PART_PLAIN)
		r->state = RESPONSE_COMPLETE;
	if (r->state == RESPONSE_GOING)
		r->state = RESPONSE_CUT;
	return r->state;
}

/* --- begin and end --- */

struct response_parser *response_parser_new(const struct target *target, struct host_hint *hint)
{
	struct response_parser *r = xcalloc(1, sizeof *r);

	r->target = target;
	r->hint = hint;
	return r;
}

void response_parser_begin(struct response_parser *r, enum response_to to,
			   const struct response_events *events, void *ctx)
{
	r->events = *events;
	r->ctx = ctx;
	r->to = to;
	r->state = RESPONSE_GOING;
	r->fault = NULL;
	r->head = (struct response_head){0};
	r->guard = (struct response_guard){0};
	r->interim_count = 0;
	r->continues = false;
	start_head(r);
}

void response_parser_destroy(struct response_parser **rp)
{
	struct response_parser *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	head_fini(&r->fields);
	buf_fini(&r->name);
	buf_fini(&r->value);
	free(r);
}

int response_parser_status(const struct response_parser *r)
{
	return r->head.status;
}

const char *response_parser_fault(const struct response_parser *r)
{
	return r->fault != NULL ? r->fault : "no HTTP/1.1 response";
}

bool response_parser_continues(const struct response_parser *r)
{
	return r->continues;
}

bool response_parser_keeps_open(const struct response_parser *r)
{
	return r->head.keeps_open && r->state == RESPONSE_COMPLETE;
}
