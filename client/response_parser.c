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
static bool fault(struct response_parser *a, const char *what)
{
	if (a->fault == NULL)
		a->fault = what;
	return false;
}

static bool fault_head_size(struct response_parser *a)
{
	/* NOLINTNEXTLINE(misc-redundant-expression): as long as it holds */
	_Static_assert(HEAD_MAX_BYTES == 64 * 1024, "the words below");
	return fault(a, "a head larger than 64 KiB");
}

/* --- callbacks of the parser: not 0 is a fault --- */

/* Adds the complete field, if any. Returns false if it is not acceptable. */
static bool field_ends(struct response_parser *a)
{
	const char *name = (const char *)buf_first(&a->name);
	const char *value = buf_bytes(&a->value) > 0 ? (const char *)buf_first(&a->value) : "";
	size_t name_bytes = buf_bytes(&a->name), value_bytes = buf_bytes(&a->value);

	if (name_bytes == 0)
		return true;
	while (value_bytes > 0 && (value[value_bytes - 1] == ' ' || value[value_bytes - 1] == '\t'))
		value_bytes--;
	bool good = http_token_valid(name + 1, name_bytes - 1) &&
		    (a->fields.bytes + name_bytes - 1 + value_bytes <= HEAD_MAX_BYTES ||
		     fault_head_size(a));
	if (good)
		head_add_bytes(&a->fields, name + 1, name_bytes - 1, value, value_bytes);
	buf_consume(&a->name, name_bytes);
	buf_consume(&a->value, buf_bytes(&a->value));
	return good;
}

static int on_name(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *a = p->data;

	if (a->guard.part == PART_TRAILERS)
		return bytes > 0 && !http_token_valid(at, bytes);
	buf_append(&a->name, at, bytes);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *a = p->data;

	if (a->guard.part != PART_TRAILERS)
		buf_append(&a->value, at, bytes);
	return 0;
}

static enum response_part body_part(const struct response_parser *a)
{
	if (a->head.framing == FRAMING_CHUNKED)
		return PART_SIZE;
	return a->head.framing == FRAMING_LENGTH ? PART_DATA : PART_PLAIN;
}

/* A 101 is accepted only in response to a handshake, and only for a WebSocket. */
static bool switch_protocol(struct response_parser *a)
{
	a->head = (struct response_head){.status = 101};
	return (a->to == RESPONSE_TO_HANDSHAKE && response_head_switches(&a->fields)) ||
	       fault(a, "a 101 that does not switch to a WebSocket");
}

static bool read_head(struct response_parser *a, int status)
{
	if (!response_head_read(&a->head, status, &a->fields, a->to == RESPONSE_TO_HEAD))
		return fault(a, "a body whose end is ambiguous");
	a->head.keeps_open = a->head.keeps_open && !a->guard.is_sloppy && a->parser.http_minor >= 1;
	return true;
}

static bool give_head(struct response_parser *a)
{
	struct head whole = {0};
	bool good = response_head_write(&a->head, a->target, &a->fields, &whole);

	if (good)
		a->events.head(a->ctx, &whole);
	head_fini(&whole);
	return good || fault(a, "too many names in Connection");
}

/* Returns 0: a body may follow. 1: it does not. 2: HTTP ends here. -1: a fault. */
static int on_headers_complete(http_parser *p)
{
	struct response_parser *a = p->data;
	int status = (int)p->status_code;

	if (!field_ends(a) || status < 100)
		return -1;
	if (status < 200 && status != 101) {
		a->continues = a->continues || status == 100;
		a->interim_over = true;
		if (++a->interim_count <= INTERIM_MAX)
			return 1;
		fault(a, "too many informational responses");
		return -1;
	}
	if (!(status == 101 ? switch_protocol(a) : read_head(a, status)) || !give_head(a)) {
		a->head.status = 0;
		return -1;
	}
	if (status == 101)
		return 2;
	a->left_bytes = a->head.body_bytes;
	response_guard_enter(&a->guard, body_part(a));
	p->flags |= a->head.framing == FRAMING_CHUNKED ? F_CHUNKED : 0;
	return a->head.framing == FRAMING_NONE ||
	       (a->head.framing == FRAMING_LENGTH && a->left_bytes == 0);
}

static int on_chunk_header(http_parser *p)
{
	struct response_parser *a = p->data;

	a->left_bytes = p->content_length;
	response_guard_enter(&a->guard, a->left_bytes > 0 ? PART_DATA : PART_TRAILERS);
	return a->left_bytes > INT64_MAX;
}

static int on_chunk_complete(http_parser *p)
{
	struct response_parser *a = p->data;

	response_guard_enter(&a->guard, PART_SIZE);
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *a = p->data;

	if (a->hint != NULL)
		host_hint_on_body(a->hint, a->target, a->head.status, at, bytes);
	if (!a->events.data(a->ctx, at, bytes)) {
		a->state = RESPONSE_STALLED;
		http_parser_pause(p, 1);
	}
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct response_parser *a = p->data;

	http_parser_pause(p, 1);
	if (!a->interim_over)
		a->state = a->head.status == 101 ? RESPONSE_SWITCHED : RESPONSE_COMPLETE;
	return 0;
}

/* --- input --- */

static void start_head(struct response_parser *a)
{
	http_parser_init(&a->parser, HTTP_RESPONSE);
	a->parser.data = a;
	response_guard_start_head(&a->guard);
	a->interim_over = false;
	head_clear(&a->fields);
	buf_consume(&a->name, buf_bytes(&a->name));
	buf_consume(&a->value, buf_bytes(&a->value));
}

static size_t execute(struct response_parser *a, const char *data, size_t bytes)
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
	size_t used = http_parser_execute(&a->parser, &callbacks, data, bytes);

	if (a->state == RESPONSE_GOING && HTTP_PARSER_ERRNO(&a->parser) == HPE_PAUSED)
		start_head(a); /* the final response follows */
	else if (a->state == RESPONSE_GOING && HTTP_PARSER_ERRNO(&a->parser) != HPE_OK)
		a->state = RESPONSE_BAD;
	if (HTTP_PARSER_ERRNO(&a->parser) == HPE_HEADER_OVERFLOW)
		(void)fault_head_size(a);
	return used;
}

/* Reads a line, or as much of it as has arrived. */
static size_t read_line(struct response_parser *a, const char *data, size_t bytes)
{
	const char *end = memchr(data, '\n', bytes);
	size_t used = end != NULL ? (size_t)(end - data) + 1 : bytes;
	bool good = !response_guard_begins_field(&a->guard, *data) ||
		    (field_ends(a) && execute(a, DISGUISE, 1) == 1);

	if (good && response_guard_passes(&a->guard, data, used))
		return execute(a, data, used);
	a->state = RESPONSE_BAD;
	return used;
}

/* Reads a piece of a chunk, or of a body of known length. */
static size_t read_counted(struct response_parser *a, const char *data, size_t bytes)
{
	size_t used = bytes < a->left_bytes ? bytes : (size_t)a->left_bytes;

	a->left_bytes -= used;
	(void)execute(a, data, used);
	if (a->left_bytes == 0 && a->head.framing == FRAMING_CHUNKED)
		response_guard_enter(&a->guard, PART_DATA_END);
	else if (a->left_bytes == 0 && a->state == RESPONSE_GOING)
		a->state = RESPONSE_COMPLETE;
	return used;
}

static size_t step(struct response_parser *a, const char *data, size_t bytes)
{
	switch (a->guard.part) {
	case PART_PLAIN:
		return execute(a, data, bytes);
	case PART_DATA:
		return read_counted(a, data, bytes);
	default:
		return read_line(a, data, bytes);
	}
}

enum response_state response_parser_feed(struct response_parser *a, const void *data, size_t bytes,
					 size_t *used)
{
	const char *input = data;
	size_t at = 0;

	if (a->state == RESPONSE_STALLED) {
		bool is_over = a->guard.part == PART_DATA && a->left_bytes == 0;
		a->state = is_over ? RESPONSE_COMPLETE : RESPONSE_GOING;
		http_parser_pause(&a->parser, 0);
	}
	while (a->state == RESPONSE_GOING && at < bytes)
		at += step(a, input + at, bytes - at);
	*used = at;
	return a->state;
}

enum response_state response_parser_end(struct response_parser *a)
{
	if (a->state == RESPONSE_GOING && a->guard.part == PART_PLAIN)
		a->state = RESPONSE_COMPLETE;
	if (a->state == RESPONSE_GOING)
		a->state = RESPONSE_CUT;
	return a->state;
}

/* --- begin and end --- */

struct response_parser *response_parser_new(const struct target *target, struct host_hint *hint)
{
	struct response_parser *a = xcalloc(1, sizeof *a);

	a->target = target;
	a->hint = hint;
	return a;
}

void response_parser_begin(struct response_parser *a, enum response_to to,
			   const struct response_events *events, void *ctx)
{
	a->events = *events;
	a->ctx = ctx;
	a->to = to;
	a->state = RESPONSE_GOING;
	a->fault = NULL;
	a->head = (struct response_head){0};
	a->guard = (struct response_guard){0};
	a->interim_count = 0;
	a->continues = false;
	start_head(a);
}

void response_parser_destroy(struct response_parser **ap)
{
	struct response_parser *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	head_fini(&a->fields);
	buf_fini(&a->name);
	buf_fini(&a->value);
	free(a);
}

int response_parser_status(const struct response_parser *a)
{
	return a->head.status;
}

const char *response_parser_fault(const struct response_parser *a)
{
	return a->fault != NULL ? a->fault : "no HTTP/1.1 response";
}

bool response_parser_continues(const struct response_parser *a)
{
	return a->continues;
}

bool response_parser_keeps_open(const struct response_parser *a)
{
	return a->head.keeps_open && a->state == RESPONSE_COMPLETE;
}
