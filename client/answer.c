/* client/answer.c - see answer.h.
 *
 * http_parser takes the bytes apart. It is paused where an answer ends, and behind a piece after which the owner
 * takes no more. */
#include "client/answer.h"

#include "common/buf.h"
#include "common/http.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct answer {
	const struct settings *settings;
	struct answer_events events;
	void *ctx;
	http_parser parser;
	enum answer_to to;
	enum answer_state state;
	int status; /* 0: the head has not come */
	bool keeps_open, continues, interim_over;

	/* The head so far. */
	struct head fields;
	struct buf name, value;
	bool in_value, names_websocket;
	const char *value_end; /* where more of the value would begin, if not on another line */
	bool value_open;       /* that is the next input's first byte */
};

/* --- fields --- */

/* Trimmed (RFC 9112 5.1). False: it cannot pass, or is one too many. */
static bool add_field(struct head *fields, const char *name, size_t name_bytes, const char *value,
		      size_t value_bytes)
{
	const char *end = value + value_bytes;

	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	value_bytes = (size_t)(end - value);
	if (!http_token_valid(name, name_bytes) || !http_value_valid(value, value_bytes) ||
	    fields->bytes + name_bytes + value_bytes > HEAD_MAX_BYTES)
		return false;
	head_add_bytes(fields, name, name_bytes, value, value_bytes);
	return true;
}

static bool field_ends(struct answer *a)
{
	const char *name = (const char *)buf_first(&a->name);
	const char *value = (const char *)buf_first(&a->value);
	size_t name_bytes = buf_bytes(&a->name), value_bytes = buf_bytes(&a->value);

	if (name_bytes == 0)
		return true;
	if (value == NULL)
		value = "";
	if (name_bytes == 7 && strncasecmp(name, "upgrade", 7) == 0)
		a->names_websocket = value_bytes == 9 && strncasecmp(value, "websocket", 9) == 0;
	bool good = add_field(&a->fields, name, name_bytes, value, value_bytes);
	buf_consume(&a->name, name_bytes);
	buf_consume(&a->value, value_bytes);
	a->in_value = false;
	return good;
}

/* The responder's head: all that are end-to-end; "Connection", which names some that are not, does not go on. A
 * Content-Length beside Transfer-Encoding means nothing (RFC 9112 6.3). */
static bool give_head(struct answer *a)
{
	const struct head *fields = &a->fields;
	struct head whole = {0};
	struct head_reader reader;
	struct head_field f;
	char number[12];
	bool framed = head_find(fields->data, fields->bytes, "transfer-encoding", &f);
	struct http_connection connection;

	if (!http_connection_read(&connection, fields->data, fields->bytes))
		return false;
	snprintf(number, sizeof number, "%03d", a->status);
	head_add(&whole, ":status", number);
	head_add(&whole, ":origin", a->settings->target.url);
	head_reader_init(&reader, fields->data, fields->bytes);
	while (head_next(&reader, &f) == 1) {
		if (!http_hop_by_hop(&f) && !(framed && field_is(&f, "content-length")) &&
		    !http_connection_names(&connection, &f))
			head_add_bytes(&whole, f.name, f.name_bytes, f.value, f.value_bytes);
	}
	a->events.head(a->ctx, &whole);
	head_fini(&whole);
	return true;
}

/* --- callbacks of the parser: not 0 is a fault --- */

static int on_field(http_parser *p, const char *at, size_t bytes)
{
	struct answer *a = p->data;

	if (a->status != 0)
		return 0; /* a trailer: nothing behind us can carry it */
	if (a->in_value && !field_ends(a))
		return 1;
	if (buf_bytes(&a->name) + bytes > HEAD_MAX_BYTES)
		return 1;
	buf_append(&a->name, at, bytes);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t bytes)
{
	struct answer *a = p->data;

	if (a->status != 0)
		return 0;
	if (a->in_value && at != a->value_end)
		return 1; /* a folded line (RFC 9112 5.2) */
	a->value_end = at + bytes;
	a->in_value = true;
	if (buf_bytes(&a->value) + bytes > HEAD_MAX_BYTES)
		return 1;
	buf_append(&a->value, at, bytes);
	return 0;
}

static bool may_switch(const struct answer *a)
{
	return a->to == ANSWER_TO_HANDSHAKE && a->parser.upgrade && a->names_websocket;
}

/* 0: a body may follow. 1: none does, whatever the fields say. 2: nor anything else of HTTP. -1: a fault. */
static int on_headers_complete(http_parser *p)
{
	struct answer *a = p->data;
	int status = (int)p->status_code;

	if (!field_ends(a) || p->http_major != 1 || status < 100 || status > 599)
		return -1;
	if (status == 101 && !may_switch(a))
		return -1;
	if (status < 200 && status != 101) {
		a->continues = a->continues || status == 100;
		return 1;
	}
	a->status = status;
	if (!give_head(a)) {
		a->status = 0;
		return -1;
	}
	if (status == 101)
		return 2;
	return a->to == ANSWER_TO_HEAD || status == 204 || status == 304;
}

static int on_body(http_parser *p, const char *at, size_t bytes)
{
	struct answer *a = p->data;

	if (bytes > 0 && !a->events.data(a->ctx, at, bytes)) {
		a->state = ANSWER_STALLED;
		http_parser_pause(p, 1);
	}
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct answer *a = p->data;

	http_parser_pause(p, 1);
	a->interim_over = a->status == 0;
	if (a->interim_over)
		return 0;
	a->state = a->status == 101 ? ANSWER_SWITCHED : ANSWER_COMPLETE;
	a->keeps_open = a->status != 101 && http_should_keep_alive(p);
	return 0;
}

/* --- input --- */

static void start_parser(struct answer *a)
{
	http_parser_init(&a->parser, HTTP_RESPONSE);
	a->parser.allow_chunked_length = 1;
	a->parser.data = a;
	a->interim_over = a->in_value = a->value_open = a->names_websocket = false;
	head_clear(&a->fields);
	buf_consume(&a->name, buf_bytes(&a->name));
	buf_consume(&a->value, buf_bytes(&a->value));
}

/* The end of the input when `bytes` is 0. */
static size_t execute(struct answer *a, const char *data, size_t bytes)
{
	static const http_parser_settings callbacks = {
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_headers_complete,
		.on_body = on_body,
		.on_message_complete = on_message_complete,
	};

	a->value_end = a->value_open ? data : NULL;
	size_t used = http_parser_execute(&a->parser, &callbacks, data, bytes);
	a->value_open = a->value_end != NULL && a->value_end == data + bytes;
	if (a->interim_over) {
		start_parser(a); /* the answer follows */
	} else if (a->state == ANSWER_GOING && HTTP_PARSER_ERRNO(&a->parser) != HPE_OK) {
		a->state = bytes > 0 ? ANSWER_BAD : ANSWER_CUT;
	}
	return used;
}

enum answer_state answer_take(struct answer *a, const void *data, size_t bytes, size_t *used)
{
	const char *input = data;
	size_t at = 0;

	if (a->state == ANSWER_STALLED) {
		a->state = ANSWER_GOING;
		http_parser_pause(&a->parser, 0);
	}
	while (a->state == ANSWER_GOING && at < bytes)
		at += execute(a, input + at, bytes - at);
	*used = at;
	return a->state;
}

enum answer_state answer_end(struct answer *a)
{
	if (a->state == ANSWER_GOING)
		(void)execute(a, "", 0);
	if (a->state == ANSWER_GOING)
		a->state = ANSWER_CUT;
	return a->state;
}

/* --- begin and end --- */

struct answer *answer_new(const struct settings *settings)
{
	struct answer *a = xcalloc(1, sizeof *a);

	a->settings = settings;
	return a;
}

void answer_begin(struct answer *a, enum answer_to to, const struct answer_events *events,
		  void *ctx)
{
	a->events = *events;
	a->ctx = ctx;
	a->to = to;
	a->state = ANSWER_GOING;
	a->status = 0;
	a->keeps_open = a->continues = false;
	start_parser(a);
}

void answer_destroy(struct answer **ap)
{
	struct answer *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	head_fini(&a->fields);
	buf_fini(&a->name);
	buf_fini(&a->value);
	free(a);
}

int answer_status(const struct answer *a)
{
	return a->status;
}

bool answer_continues(const struct answer *a)
{
	return a->continues;
}

bool answer_keeps_open(const struct answer *a)
{
	return a->keeps_open;
}
