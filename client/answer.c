/* client/answer.c - see answer.h.
 *
 *   LINE (status line, fields, empty line) --1xx--> LINE again
 *        '--> NO_BODY, LENGTH, CHUNKED, or UNTIL_END --> complete
 *
 * Written by hand because http_parser, outside its strict mode, takes any two bytes for the CRLF behind a chunk, and
 * reads a body where Transfer-Encoding makes no sense. */
#include "client/answer.h"

#include "client/chunks.h"
#include "common/log.h"
#include "common/buf.h"
#include "common/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	HEAD_RAW_MAX_BYTES = HEAD_MAX_BYTES + 16 * 1024, /* of its lines, with their ends */
	INTERIM_MAX = 64,				 /* 1xx responses before the final one */
	EMPTY_LINES_MAX = 4,				 /* before a status line */
	KEEP_ALIVE_LEAST_S = 2, /* twice as long as pool.c keeps a connection */
};

enum framing { LINE, NO_BODY, LENGTH, CHUNKED, UNTIL_END };

struct answer {
	const struct settings *settings;
	struct answer_events events;
	void *ctx;
	enum answer_to to;
	enum answer_state state;
	int status; /* of the final head; 0: none yet */
	bool keeps_open, continues;
	size_t interim_count;

	/* The head so far. */
	struct buf line; /* a line that has not come whole */
	size_t head_bytes, empty_lines;
	bool has_status_line, is_sloppy; /* sloppy: readable, but not as RFC 9112 writes it */
	int line_status, minor_version;
	struct head fields;

	enum framing framing;
	long long left_bytes; /* LENGTH */
	struct chunks chunks; /* CHUNKED */
};

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

bool answer_binds_connection(const struct head_field *f)
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
		return !answer_binds_connection(f);
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

static void read_framing_fields(struct answer *a, struct framing_fields *ff)
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
static bool choose_framing(struct answer *a)
{
	struct framing_fields ff;

	a->keeps_open = !a->is_sloppy && a->minor_version >= 1;
	read_framing_fields(a, &ff);
	if (ff.bad_length || (ff.codings > 0 && !ff.is_chunked))
		return false;
	if (a->to == ANSWER_TO_HEAD || a->status == 204 || a->status == 304) {
		a->framing = NO_BODY;
		a->keeps_open = false; /* some apps send one even so */
	} else if (ff.is_chunked) {
		a->framing = CHUNKED;
		a->keeps_open = a->keeps_open && !ff.has_length;
	} else if (ff.has_length) {
		a->framing = LENGTH;
		a->left_bytes = ff.length;
	} else {
		a->framing = UNTIL_END;
		a->keeps_open = false;
	}
	return true;
}

/* A 101 is for a handshake only, and has to be for a WebSocket. */
static bool may_switch(const struct answer *a)
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
	return a->to == ANSWER_TO_HANDSHAKE && websocket && connection;
}

/* --- the head --- */

/* A second Content-Length says the same as the first; beside Transfer-Encoding, or in a 101, it means nothing. */
static bool length_passes(const struct answer *a, bool is_first)
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
static bool give_head(struct answer *a)
{
	const struct head *fields = &a->fields;
	struct head whole = {0};
	struct http_connection connection = {0};
	struct head_reader reader;
	struct head_field f;
	char number[12];
	bool is_first_length = true;

	if (!http_connection_read(&connection, fields->data, fields->bytes))
		return false;
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

static void start_head(struct answer *a)
{
	a->framing = LINE;
	a->has_status_line = false;
	a->head_bytes = a->empty_lines = 0;
	head_clear(&a->fields);
	buf_consume(&a->line, buf_bytes(&a->line));
}

static bool start_body(struct answer *a)
{
	a->chunks = (struct chunks){0};
	if (!choose_framing(a) || !give_head(a))
		return false;
	if (a->framing == NO_BODY || (a->framing == LENGTH && a->left_bytes == 0))
		a->state = ANSWER_COMPLETE;
	return true;
}

/* False: it is impossible. */
static bool head_ends(struct answer *a)
{
	a->status = a->line_status;
	if (a->status == 101) {
		a->state = ANSWER_SWITCHED;
		return may_switch(a) && give_head(a);
	}
	if (a->status >= 200)
		return start_body(a);
	a->continues = a->continues || a->status == 100;
	a->status = 0;
	start_head(a);
	return ++a->interim_count <= INTERIM_MAX;
}

/* --- lines --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Can this be the begin of a status line? */
static bool may_be_status_line(const char *line, size_t bytes)
{
	static const char begin[] = "HTTP/1.";
	size_t most = sizeof begin - 1;

	return memcmp(line, begin, bytes < most ? bytes : most) == 0;
}

/* "HTTP/1.1 200 OK"; the phrase may be missing. */
static bool read_status_line(struct answer *a, const char *line, size_t bytes)
{
	size_t at = 8;

	if (bytes < 12 || !may_be_status_line(line, bytes) || !is_digit(line[7]) ||
	    line[8] != ' ' || !http_value_valid(line, bytes))
		return false;
	while (at < bytes && line[at] == ' ')
		at++;
	a->is_sloppy = a->is_sloppy || at != 9;
	if (bytes - at < 3 || !is_digit(line[at]) || !is_digit(line[at + 1]) ||
	    !is_digit(line[at + 2]) || (bytes - at > 3 && line[at + 3] != ' '))
		return false;
	a->minor_version = line[7] - '0';
	a->line_status = (line[at] - '0') * 100 + (line[at + 1] - '0') * 10 + line[at + 2] - '0';
	a->has_status_line = true;
	return a->line_status >= 100 && a->line_status <= 599;
}

/* A line that begins with a blank continues the one before (RFC 9112 5.2): it is no name, and so is refused. */
static bool read_field(struct answer *a, const char *line, size_t bytes)
{
	const char *colon = memchr(line, ':', bytes);
	const char *end = line + bytes;

	if (colon == NULL)
		return false;
	const char *value = colon + 1;
	size_t name_bytes = (size_t)(colon - line);
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	size_t value_bytes = (size_t)(end - value);
	if (!http_token_valid(line, name_bytes) || !http_value_valid(value, value_bytes) ||
	    a->fields.bytes + name_bytes + value_bytes > HEAD_MAX_BYTES)
		return false;
	head_add_bytes(&a->fields, line, name_bytes, value, value_bytes);
	return true;
}

/* A whole line, without its LF. */
static void take_line(struct answer *a, const char *line, size_t bytes)
{
	bool good = true;

	if (bytes > 0 && line[bytes - 1] == '\r')
		bytes--;
	else
		a->is_sloppy = true;
	if (bytes == 0 && !a->has_status_line) {
		a->is_sloppy = true;
		good = ++a->empty_lines <= EMPTY_LINES_MAX;
	} else if (bytes == 0) {
		good = head_ends(a);
	} else if (!a->has_status_line) {
		good = read_status_line(a, line, bytes);
	} else {
		good = read_field(a, line, bytes);
	}
	if (!good) {
		a->state = ANSWER_BAD;
		a->status = 0;
	}
}

/* The begin of a line, whose rest has not come. */
static void keep_line(struct answer *a, const char *data, size_t bytes)
{
	buf_append(&a->line, data, bytes);
	const char *line = (const char *)buf_first(&a->line);
	if (!a->has_status_line && *line != '\r' && !may_be_status_line(line, buf_bytes(&a->line)))
		a->state = ANSWER_BAD;
}

static size_t read_line(struct answer *a, const char *data, size_t bytes)
{
	const char *end = memchr(data, '\n', bytes);
	size_t used = end != NULL ? (size_t)(end - data) + 1 : bytes;

	a->head_bytes += used;
	if (a->head_bytes > HEAD_RAW_MAX_BYTES) {
		a->state = ANSWER_BAD;
	} else if (end == NULL) {
		keep_line(a, data, bytes);
	} else if (buf_bytes(&a->line) == 0) {
		take_line(a, data, used - 1);
	} else {
		struct buf line = a->line;
		a->line = (struct buf){0};
		buf_append(&line, data, used - 1);
		take_line(a, (const char *)buf_first(&line), buf_bytes(&line));
		buf_fini(&line);
	}
	return used;
}

/* --- the body --- */

/* Does the app refuse the public Host? By its status, and by the words that Vite, webpack-dev-server, Jupyter, Django and
 * MCP servers begin their page with. */
static bool refuses_host(const struct answer *a, const char *data, size_t bytes)
{
	static const char *const words[] = {"invalid host", "invalid http_host", "this host",
					    "non-local 'host'"};
	char begin[512];

	if (a->settings->host_header != HOST_KEEP)
		return false;
	if (a->status != 400 && a->status != 403 && a->status != 421)
		return false;
	size_t length = bytes < sizeof begin ? bytes : sizeof begin - 1;
	memcpy(begin, data, length);
	begin[length] = '\0';
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcasestr(begin, words[i]) != NULL)
			return true;
	}
	return a->status == 421;
}

static void hint_at_host_header(const struct answer *a, const char *data, size_t bytes)
{
	static bool said;

	if (said || bytes == 0 || !refuses_host(a, data, bytes))
		return;
	said = true;
	log_warn("target.refuses_host status=%d hint=\"--host-header target\"", a->status);
}

static void give_data(struct answer *a, const char *data, size_t bytes)
{
	hint_at_host_header(a, data, bytes);
	if (bytes > 0 && !a->events.data(a->ctx, data, bytes))
		a->state = ANSWER_STALLED;
}

static size_t read_length_body(struct answer *a, const char *data, size_t bytes)
{
	size_t used = (long long)bytes < a->left_bytes ? bytes : (size_t)a->left_bytes;

	a->left_bytes -= (long long)used;
	give_data(a, data, used);
	if (a->left_bytes == 0 && a->state == ANSWER_GOING)
		a->state = ANSWER_COMPLETE;
	return used;
}

static size_t read_chunked_body(struct answer *a, const char *data, size_t bytes)
{
	const char *piece;
	size_t piece_bytes;
	size_t used = chunks_read(&a->chunks, data, bytes, &piece, &piece_bytes);

	give_data(a, piece, piece_bytes);
	if (a->chunks.state == CHUNKS_BAD)
		a->state = ANSWER_BAD;
	else if (a->chunks.state == CHUNKS_OVER)
		a->state = ANSWER_COMPLETE;
	return used;
}

static size_t step(struct answer *a, const char *data, size_t bytes)
{
	switch (a->framing) {
	case LINE:
		return read_line(a, data, bytes);
	case LENGTH:
		return read_length_body(a, data, bytes);
	case CHUNKED:
		return read_chunked_body(a, data, bytes);
	default:
		give_data(a, data, bytes);
		return bytes;
	}
}

enum answer_state answer_take(struct answer *a, const void *data, size_t bytes, size_t *used)
{
	const char *input = data;
	size_t at = 0;

	if (a->state == ANSWER_STALLED) {
		bool is_over = a->framing == LENGTH && a->left_bytes == 0;
		a->state = is_over ? ANSWER_COMPLETE : ANSWER_GOING;
	}
	while (a->state == ANSWER_GOING && at < bytes)
		at += step(a, input + at, bytes - at);
	*used = at;
	a->keeps_open = a->keeps_open && a->state != ANSWER_BAD;
	return a->state;
}

enum answer_state answer_end(struct answer *a)
{
	if (a->state == ANSWER_GOING)
		a->state = a->framing == UNTIL_END ? ANSWER_COMPLETE : ANSWER_CUT;
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
	a->interim_count = 0;
	a->keeps_open = a->continues = a->is_sloppy = false;
	start_head(a);
}

void answer_destroy(struct answer **ap)
{
	struct answer *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	head_fini(&a->fields);
	buf_fini(&a->line);
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
	return a->keeps_open && a->state == ANSWER_COMPLETE;
}
