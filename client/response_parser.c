/* client/response_parser.c - see response_parser.h.
 *
 *   HEAD --1xx--> HEAD again
 *     '--> nothing more, PLAIN, DATA, or SIZE > DATA > DATA_END > SIZE > ... > TRAILERS --> complete
 *
 * http_parser takes the bytes apart, behind two guards. It passes lines that RFC 9112 does not (Debian builds it without
 * its strict mode), so byte_passes() looks at them first. And it would decide where the body ends by other rules than
 * choose_framing(), so it is given each field of a head with a DISGUISE in front: it knows none of these names. */
#include "client/response_parser.h"

#include "client/host_hint.h"
#include "common/buf.h"
#include "common/http.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	INTERIM_MAX = 64,    /* 1xx responses before the final one */
	EMPTY_LINES_MAX = 4, /* before a status line */
	SIZE_LINE_MAX_BYTES = 4096,
	TRAILERS_MAX_BYTES = 64 * 1024,
	KEEP_ALIVE_LEAST_S = 2, /* twice as long as conn_pool.c keeps a connection */
};

enum framing { NO_BODY, LENGTH, CHUNKED, UNTIL_END };

/* What the next bytes are. */
enum part { HEAD, PLAIN, SIZE, DATA, DATA_END, TRAILERS };

struct response_parser {
	const struct settings *settings;
	struct response_events events;
	void *ctx;
	enum response_to to;
	enum response_state state;
	const char *fault; /* the first one; NULL: none */
	int status;	   /* of the final head; 0: none yet */
	bool keeps_open, continues;
	size_t interim_count;
	http_parser parser;
	enum framing framing;

	enum part part;
	size_t line_bytes;   /* of a line that has not come whole; of all TRAILERS */
	char last;	     /* byte of the input; LF before the first one of a part */
	bool in_extension;   /* SIZE */
	uint64_t left_bytes; /* DATA */

	/* The head so far. */
	bool interim_over, is_sloppy; /* sloppy: readable, but not as RFC 9112 writes it */
	size_t empty_lines;
	struct buf name, value;
	struct head fields;
};

#define DISGUISE "x"

/* False, for the caller to return. */
static bool fault(struct response_parser *a, const char *what)
{
	if (a->fault == NULL)
		a->fault = what;
	return false;
}

static bool fault_head_size(struct response_parser *a)
{
	_Static_assert(HEAD_MAX_BYTES == 64 * 1024, "the words below");
	return fault(a, "a head larger than 64 KiB");
}

/* --- what the fields say --- */

/* Is `name` one of the elements of this field's value? */
static bool names(const struct head_field *f, const char *name)
{
	struct head_field list = *f, element;

	while (http_list_next(&list, &element)) {
		if (field_is(&element, name))
			return true;
	}
	return false;
}

bool response_parser_binds_connection(const struct head_field *f)
{
	static const char *const schemes[] = {"ntlm", "negotiate", "nego2", "kerberos", "credssp"};
	struct head_field list = *f, element;

	while (http_list_next(&list, &element)) {
		const char *blank = memchr(element.name, ' ', element.name_bytes);
		if (blank != NULL)
			element.name_bytes = (size_t)(blank - element.name);
		for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
			if (field_is(&element, schemes[i]))
				return true;
		}
	}
	return false;
}

/* Keep-Alive: timeout=5, max=100. False: the app will close sooner than is good for us. */
static bool keep_alive_lasts(const struct head_field *f)
{
	struct head_field list = *f, element;

	while (http_list_next(&list, &element)) {
		long long number;
		const char *equals = memchr(element.name, '=', element.name_bytes);
		if (equals == NULL)
			continue;
		size_t name_bytes = (size_t)(equals - element.name);
		struct head_field name = {.name = element.name, .name_bytes = name_bytes};
		if (!http_length_parse(equals + 1, element.name_bytes - name_bytes - 1, &number))
			continue;
		if ((field_is(&name, "timeout") && number < KEEP_ALIVE_LEAST_S) ||
		    (field_is(&name, "max") && number == 0))
			return false;
	}
	return true;
}

/* False: this field says that no other request may follow on the connection. */
static bool field_keeps_open(const struct head_field *f)
{
	if (field_is(f, "connection") || field_is(f, "proxy-connection"))
		return !names(f, "close");
	if (field_is(f, "keep-alive"))
		return keep_alive_lasts(f);
	if (field_is(f, "www-authenticate") || field_is(f, "proxy-authenticate"))
		return !response_parser_binds_connection(f);
	return !field_is(f, "persistent-auth");
}

/* What the fields say of the body. */
struct framing_fields {
	size_t codings;	 /* lines of Transfer-Encoding, ... */
	bool is_chunked; /* ... and it is "chunked" alone */
	bool has_length, bad_length;
	long long length;
};

/* Lists of equal numbers, in one line or in several, are one (RFC 9110 8.6). */
static void read_length(struct framing_fields *ff, const struct head_field *f)
{
	long long length;

	if (!http_content_length(f->value, f->value_bytes, &length) ||
	    (ff->has_length && length != ff->length))
		ff->bad_length = true;
	else
		ff->length = length;
	ff->has_length = true;
}

static void read_coding(struct framing_fields *ff, const struct head_field *f)
{
	ff->is_chunked = ++ff->codings == 1 && http_is_chunked(f->value, f->value_bytes);
}

static void read_framing_fields(struct response_parser *a, struct framing_fields *ff)
{
	struct head_reader r;
	struct head_field f;

	*ff = (struct framing_fields){0};
	head_reader_init(&r, a->fields.data, a->fields.bytes);
	while (head_next(&r, &f) == 1) {
		if (field_is(&f, "content-length"))
			read_length(ff, &f);
		else if (field_is(&f, "transfer-encoding"))
			read_coding(ff, &f);
		a->keeps_open = a->keeps_open && field_keeps_open(&f);
	}
}

/* RFC 9112 6.3. False: it cannot be told where the body ends, or not without guessing. */
static bool choose_framing(struct response_parser *a)
{
	struct framing_fields ff;

	a->keeps_open = !a->is_sloppy && a->parser.http_minor >= 1;
	read_framing_fields(a, &ff);
	if (ff.bad_length || (ff.codings > 0 && !ff.is_chunked))
		return fault(a, "a body whose end is ambiguous");
	if (a->to == RESPONSE_TO_HEAD || a->status == 204 || a->status == 304) {
		a->framing = NO_BODY;
		a->keeps_open = false; /* some apps send one even so */
	} else if (ff.is_chunked) {
		a->framing = CHUNKED;
		a->keeps_open = a->keeps_open && !ff.has_length;
	} else if (ff.has_length) {
		a->framing = LENGTH;
		a->left_bytes = (uint64_t)ff.length;
	} else {
		a->framing = UNTIL_END;
		a->keeps_open = false;
	}
	return true;
}

/* A 101 is for a handshake only, and has to be for a WebSocket. */
static bool may_switch(struct response_parser *a)
{
	bool websocket = false, connection = false;
	struct head_reader r;
	struct head_field f;

	head_reader_init(&r, a->fields.data, a->fields.bytes);
	while (head_next(&r, &f) == 1) {
		if (field_is(&f, "upgrade"))
			websocket = f.value_bytes == 9 && strncasecmp(f.value, "websocket", 9) == 0;
		connection = connection || (field_is(&f, "connection") && names(&f, "upgrade"));
	}
	return (a->to == RESPONSE_TO_HANDSHAKE && websocket && connection) ||
	       fault(a, "a 101 that does not switch to a WebSocket");
}

/* --- the head --- */

/* A second Content-Length says the same as the first; beside Transfer-Encoding, or in a 101, it means nothing. */
static bool length_passes(const struct response_parser *a, bool is_first)
{
	return is_first && a->framing != CHUNKED && a->status != 101;
}

static void put_length(struct head *whole, const struct head_field *f)
{
	struct head_field list = *f, element;

	if (http_list_next(&list, &element))
		head_add_bytes(whole, f->name, f->name_bytes, element.name, element.name_bytes);
}

/* The responder's head: all end-to-end fields; "Connection", which names some that are not, does not go on. */
static bool give_head(struct response_parser *a)
{
	const struct head *fields = &a->fields;
	struct head whole = {0};
	struct http_connection connection = {0};
	struct head_reader reader;
	struct head_field f;
	char number[12];
	bool is_first_length = true;

	if (!http_connection_read(&connection, fields->data, fields->bytes))
		return fault(a, "too many names in Connection");
	snprintf(number, sizeof number, "%03d", a->status);
	head_add(&whole, ":status", number);
	head_add(&whole, ":origin", a->settings->target.url);
	if (a->settings->host_header == HOST_NAME)
		head_add(&whole, ":host", a->settings->host_name);
	head_reader_init(&reader, fields->data, fields->bytes);
	while (head_next(&reader, &f) == 1) {
		if (http_hop_by_hop(&f) || http_connection_names(&connection, &f))
			continue;
		if (!field_is(&f, "content-length")) {
			head_add_bytes(&whole, f.name, f.name_bytes, f.value, f.value_bytes);
		} else if (length_passes(a, is_first_length)) {
			put_length(&whole, &f);
			is_first_length = false;
		}
	}
	a->events.head(a->ctx, &whole);
	head_fini(&whole);
	return true;
}

/* --- callbacks of the parser: not 0 is a fault --- */

static void enter(struct response_parser *a, enum part part)
{
	a->part = part;
	a->line_bytes = 0;
	a->last = '\n';
	a->in_extension = false;
}

/* The field that has come, if any. False: it cannot pass. */
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

	if (a->part == TRAILERS)
		return bytes > 0 && !http_token_valid(at, bytes);
	buf_append(&a->name, at, bytes);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *a = p->data;

	if (a->part != TRAILERS)
		buf_append(&a->value, at, bytes);
	return 0;
}

static enum part body_part(const struct response_parser *a)
{
	if (a->framing == CHUNKED)
		return SIZE;
	return a->framing == LENGTH ? DATA : PLAIN;
}

/* 0: a body may follow. 1: none does. 2: nor anything else of HTTP. -1: a fault. */
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
	a->status = status;
	if (!(status == 101 ? may_switch(a) : choose_framing(a)) || !give_head(a)) {
		a->status = 0;
		return -1;
	}
	if (status == 101)
		return 2;
	enter(a, body_part(a));
	p->flags |= a->framing == CHUNKED ? F_CHUNKED : 0;
	return a->framing == NO_BODY || (a->framing == LENGTH && a->left_bytes == 0);
}

static int on_chunk_header(http_parser *p)
{
	struct response_parser *a = p->data;

	a->left_bytes = p->content_length;
	enter(a, a->left_bytes > 0 ? DATA : TRAILERS);
	return a->left_bytes > INT64_MAX;
}

static int on_chunk_complete(http_parser *p)
{
	enter(p->data, SIZE);
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t bytes)
{
	struct response_parser *a = p->data;

	host_hint_on_body(a->settings, a->status, at, bytes);
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
		a->state = a->status == 101 ? RESPONSE_SWITCHED : RESPONSE_COMPLETE;
	return 0;
}

/* --- what http_parser would let pass --- */

/* "HTTP/1.1 200 OK"; one more blank before the code is read. */
static bool status_line_passes(struct response_parser *a, char c)
{
	static const char begin[] = "HTTP/1.";

	if (a->line_bytes == 0 && (c == '\r' || c == '\n')) {
		a->is_sloppy = true;
		return ++a->empty_lines <= EMPTY_LINES_MAX;
	}
	if (a->last == '\r')
		return true; /* this is its LF */
	if (a->line_bytes < sizeof begin - 1)
		return c == begin[a->line_bytes];
	bool code_begins = a->line_bytes == 9 || (a->line_bytes == 10 && a->last == ' ');
	bool more_blank = a->line_bytes == 9 && c == ' ';
	a->is_sloppy = a->is_sloppy || more_blank;
	return !code_begins || more_blank || (c >= '1' && c <= '5');
}

/* Behind the size and a blank, only an extension. http_parser takes a byte beyond ASCII for the digit 0. */
static bool size_line_passes(struct response_parser *a, char c)
{
	a->in_extension = a->in_extension || c == ';';
	if (a->line_bytes >= SIZE_LINE_MAX_BYTES)
		return false;
	return a->in_extension ||
	       ((unsigned char)c < 0x80 && (a->last != ' ' || c == ' ' || c == '\r'));
}

/* A line that begins with a blank would continue the one before (RFC 9112 5.2). */
static bool byte_passes(struct response_parser *a, char c)
{
	bool is_end = c == '\r' || c == '\n';

	if ((a->last == '\r' && c != '\n') || (a->last == '\n' && (c == ' ' || c == '\t')) ||
	    (!is_end && !http_value_valid(&c, 1)))
		return false;
	if (c == '\n' && a->last != '\r') {
		a->is_sloppy = true;
		if (a->part != HEAD)
			return false;
	}
	switch (a->part) {
	case HEAD:
		return a->parser.status_code != 0 || status_line_passes(a, c);
	case SIZE:
		return size_line_passes(a, c);
	case TRAILERS:
		return a->line_bytes < TRAILERS_MAX_BYTES;
	default: /* DATA_END */
		return is_end;
	}
}

static bool line_passes(struct response_parser *a, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (!byte_passes(a, data[i]))
			return false;
		a->last = data[i];
		a->line_bytes = a->part == HEAD && a->last == '\n' ? 0 : a->line_bytes + 1;
	}
	return true;
}

/* --- input --- */

static void start_head(struct response_parser *a)
{
	http_parser_init(&a->parser, HTTP_RESPONSE);
	a->parser.data = a;
	enter(a, HEAD);
	a->framing = NO_BODY;
	a->interim_over = false;
	a->empty_lines = 0;
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
		start_head(a); /* the answer follows */
	else if (a->state == RESPONSE_GOING && HTTP_PARSER_ERRNO(&a->parser) != HPE_OK)
		a->state = RESPONSE_BAD;
	if (HTTP_PARSER_ERRNO(&a->parser) == HPE_HEADER_OVERFLOW)
		(void)fault_head_size(a);
	return used;
}

static bool begins_field(const struct response_parser *a, char c)
{
	return a->part == HEAD && a->parser.status_code != 0 && a->line_bytes == 0 && c != '\r' &&
	       c != '\n';
}

/* A line, or as much of it as has come. */
static size_t read_line(struct response_parser *a, const char *data, size_t bytes)
{
	const char *end = memchr(data, '\n', bytes);
	size_t used = end != NULL ? (size_t)(end - data) + 1 : bytes;
	bool good = !begins_field(a, *data) || (field_ends(a) && execute(a, DISGUISE, 1) == 1);

	if (good && line_passes(a, data, used))
		return execute(a, data, used);
	a->state = RESPONSE_BAD;
	return used;
}

/* A piece of a chunk, or of a body of known length. */
static size_t read_counted(struct response_parser *a, const char *data, size_t bytes)
{
	size_t used = bytes < a->left_bytes ? bytes : (size_t)a->left_bytes;

	a->left_bytes -= used;
	(void)execute(a, data, used);
	if (a->left_bytes == 0 && a->framing == CHUNKED)
		enter(a, DATA_END);
	else if (a->left_bytes == 0 && a->state == RESPONSE_GOING)
		a->state = RESPONSE_COMPLETE;
	return used;
}

static size_t step(struct response_parser *a, const char *data, size_t bytes)
{
	switch (a->part) {
	case PLAIN:
		return execute(a, data, bytes);
	case DATA:
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
		bool is_over = a->part == DATA && a->left_bytes == 0;
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
	if (a->state == RESPONSE_GOING && a->part == PLAIN)
		a->state = RESPONSE_COMPLETE;
	if (a->state == RESPONSE_GOING)
		a->state = RESPONSE_CUT;
	return a->state;
}

/* --- begin and end --- */

struct response_parser *response_parser_new(const struct settings *settings)
{
	struct response_parser *a = xcalloc(1, sizeof *a);

	a->settings = settings;
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
	a->status = 0;
	a->interim_count = 0;
	a->keeps_open = a->continues = a->is_sloppy = false;
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
	return a->status;
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
	return a->keeps_open && a->state == RESPONSE_COMPLETE;
}
