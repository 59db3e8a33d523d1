/* client/v1.c - A tunnel of protocol v1 (common/PROTOCOL.md, "Tunnel v1"), client's side: the original's JSON
 * messages with whole bodies in base64. The only file of the client that includes jansson.h. */
#include "client/v1.h"

#include "client/session.h"
#include "common/b64.h"
#include "common/http.h"
#include "common/log.h"
#include "common/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	MESSAGE_MAX_BYTES = 16 * 1024 * 1024, /* either way */
	RESPONSE_BODY_MAX_BYTES =
		MESSAGE_MAX_BYTES / 4 * 3 - 256 * 1024, /* its base64 and a head fit */
	HELD_MAX_BYTES =
		64 * 1024 * 1024, /* bodies of all calls; then no more is read from the apps */
	FRAGMENT_BYTES = 64 * 1024,
	PATH_MAX_BYTES = 64 * 1024,   /* of a request message, as text */
	INNER_MAX_BYTES = 256 * 1024, /* of the JSON in url_query and headers */
	DEPTH_MAX = 8,		      /* of the message's JSON ... */
	MEMBERS_MAX = 64,	      /* ... and its members and elements, all together */
	CALLS_MAX = 1000,	      /* at the app, and answers on their way */
	REFUSALS_MAX = CALLS_MAX,     /* more, that are only told so */
	CORRELATION_ID_MAX_BYTES = 64,
};

/* One request at the app. */
struct call {
	TAILQ_ENTRY(call) link; /* v1->running, then v1->done */
	struct v1 *v1;
	struct fetch *fetch; /* NULL: over */
	struct v1_request request;
	size_t body_sent_bytes;
	struct head head;
	struct buf body;
	bool too_large; /* or no memory: settle() ends it */
	bool waits;	/* the fetch: no more of the response now */
	enum fail fail;
};

TAILQ_HEAD(call_list, call);

struct v1 {
	struct origin *origin;
	struct call_list running, done;
	size_t call_count, waiting_count, too_large_count;
	size_t held_bytes; /* of the bodies of requests and responses of all calls */
	struct buf out;	   /* the message under way */
	bool out_begun;
};

/* --- a request message --- */

static const char hex_digits[] = "0123456789ABCDEF";

static bool is_hex(char c)
{
	return c != '\0' && strchr("0123456789abcdefABCDEF", c) != NULL;
}

/* Bytes that stand for themselves in a query value: "unreserved" of RFC 3986 2.3. */
static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~", c) != NULL);
}

/* ... in a path: those, sub-delims, ":", "@", "/" (3.3), and what is percent-encoded already. */
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

/* Appends text with all of it encoded that does not stay. Texts of JSON may hold U+0000 like any other character. */
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

/* A member that is a string which itself holds JSON. NULL: it is not, or too long: a value of two bytes of JSON takes
 * some hundred of memory. */
static json_t *read_inner(const json_t *text)
{
	if (json_string_length(text) > INNER_MAX_BYTES)
		return NULL;
	return json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
}

/* A string that holds a JSON list of [key, value]. */
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

/* A string that holds a JSON object of strings. What no header can be is seen when the request is made. */
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

/* What names the answer. NULL: none, or none that can be said again. */
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

/* The end of the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++) {
		if (*at == '\\')
			at++;
	}
	return at;
}

/* Counted before it is parsed: 16 MiB of "{},{}," would be more than a gigabyte. */
static bool is_modest(const char *json, size_t bytes)
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

	if (is_modest(json, bytes))
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

/* --- calls; events of the fetch only mark --- */

static void drop_body(struct call *c)
{
	c->v1->held_bytes -= buf_bytes(&c->body);
	buf_fini(&c->body);
}

/* It cannot be carried. The fetch must not be cancelled from within its events: settle() does it. */
static void refuse_response(struct call *c)
{
	drop_body(c);
	if (!c->too_large)
		c->v1->too_large_count++;
	c->too_large = true;
}

/* May more of this response be read? One call always may while no whole response waits to be sent: its end makes
 * room. */
static bool may_go_on(const struct call *c)
{
	const struct v1 *v = c->v1;

	return v->held_bytes <= HELD_MAX_BYTES ||
	       (c == TAILQ_FIRST(&v->running) && TAILQ_EMPTY(&v->done) && buf_bytes(&v->out) == 0);
}

static void set_waits(struct call *c, bool waits)
{
	if (c->waits != waits)
		c->v1->waiting_count += waits ? 1 : (size_t)-1;
	c->waits = waits;
}

static int head_status(const struct call *c)
{
	struct head_field f;
	long long status;

	if (!head_find(c->head.data, c->head.bytes, ":status", &f) ||
	    !http_length_parse(f.value, f.value_bytes, &status))
		return 0;
	return (int)status;
}

static bool has_body(const struct call *c)
{
	struct head_field method;
	int status = head_status(c);
	bool is_head = head_find(c->request.head.data, c->request.head.bytes, ":method", &method) &&
		       method.value_bytes == 4 && memcmp(method.value, "HEAD", 4) == 0;

	return !is_head && status != 204 && status != 304;
}

static void on_head(void *ctx, const struct head *h)
{
	struct call *c = ctx;
	struct head_field f;
	long long length;

	head_append(&c->head, h);
	if (has_body(c) && head_find(h->data, h->bytes, "content-length", &f) &&
	    http_length_parse(f.value, f.value_bytes, &length) && length > RESPONSE_BODY_MAX_BYTES)
		refuse_response(c);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct call *c = ctx;

	if (c->too_large || buf_bytes(&c->body) + bytes > RESPONSE_BODY_MAX_BYTES ||
	    !buf_try_append(&c->body, data, bytes)) {
		refuse_response(c);
		return false;
	}
	c->v1->held_bytes += bytes;
	set_waits(c, !may_go_on(c));
	return !c->waits;
}

static ssize_t on_body(void *ctx, void *out, size_t bytes)
{
	struct call *c = ctx;
	size_t left = c->request.body_bytes - c->body_sent_bytes;

	if (left == 0)
		return FETCH_END;
	if (bytes > left)
		bytes = left;
	memcpy(out, c->request.body + c->body_sent_bytes, bytes);
	c->body_sent_bytes += bytes;
	return (ssize_t)bytes;
}

static void drop_request_body(struct call *c)
{
	c->v1->held_bytes -= c->request.body_bytes;
	free(c->request.body);
	c->request.body = NULL;
	c->request.body_bytes = c->body_sent_bytes = 0;
}

static void on_end(void *ctx, enum fail f, bool maybe_delivered)
{
	struct call *c = ctx;

	(void)maybe_delivered; /* v1 cannot say it */
	c->fetch = NULL;
	c->fail = f;
	c->v1->too_large_count -= c->too_large;
	set_waits(c, false);
	drop_request_body(c);
	TAILQ_REMOVE(&c->v1->running, c, link);
	TAILQ_INSERT_TAIL(&c->v1->done, c, link);
}

static const struct fetch_events events = {on_head, on_data, on_body, on_end};

static void call_free(struct call *c, struct call_list *list)
{
	fetch_cancel(&c->fetch);
	TAILQ_REMOVE(list, c, link);
	c->v1->call_count--;
	c->v1->too_large_count -= c->too_large && list == &c->v1->running;
	set_waits(c, false);
	drop_request_body(c);
	drop_body(c);
	v1_request_fini(&c->request);
	head_fini(&c->head);
	free(c);
}

/* Who waits for an answer gets one, whatever we think of the request. */
static void receive(void *session, const uint8_t *data, size_t bytes)
{
	struct v1 *v = session;
	struct call *c = xcalloc(1, sizeof *c);
	enum fail refusal = FAIL_NONE;

	if (!v1_request_read(&c->request, data, bytes))
		refusal = FAIL_BAD_REQUEST;
	else if (v->call_count >= CALLS_MAX ||
		 (c->request.body_bytes > 0 &&
		  v->held_bytes + c->request.body_bytes > HELD_MAX_BYTES))
		refusal = FAIL_OVERLOADED;
	if (c->request.correlation_id == NULL || v->call_count >= CALLS_MAX + REFUSALS_MAX) {
		log_limited_warn("", "message.ignored running=%zu bytes=%zu", v->call_count, bytes);
		v1_request_fini(&c->request);
		free(c);
		return;
	}
	c->v1 = v;
	v->call_count++;
	v->held_bytes += c->request.body_bytes;
	TAILQ_INSERT_TAIL(&v->running, c, link);
	if (refusal == FAIL_NONE) {
		c->fetch = fetch_start(v->origin, c->request.head.data, c->request.head.bytes,
				       c->request.body_bytes > 0 ? FETCH_BODY : FETCH_NO_BODY,
				       &events, c, &refusal);
	}
	if (refusal == FAIL_BAD_REQUEST || refusal == FAIL_BAD_PATH)
		log_limited_warn("", "request.refused why=\"it cannot be made\"");
	if (refusal != FAIL_NONE)
		on_end(c, refusal, false);
}

/* --- the answer --- */

/* A spelling of `name` that is not in the object yet: names of HTTP have no case, those of JSON have, so
 * several Set-Cookie lines, which cannot be joined (RFC 9110 5.3), keep apart. */
static bool other_spelling(const json_t *headers, char *name)
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

static void add_answer_header(json_t *headers, const struct head_field *f)
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
	} else if (earlier != NULL && !other_spelling(headers, name)) {
		json_decref(value);
		value = NULL;
	}
	if (value != NULL)
		json_object_set_new(headers, name, value);
	free(name);
}

static int answer_status(const struct call *c)
{
	int status = head_status(c);

	if (c->too_large)
		return 502;
	if (c->fail == FAIL_BAD_REQUEST || c->fail == FAIL_BAD_PATH || c->fail == FAIL_OVERLOADED)
		return fail_status(c->fail, false);
	return c->fail != FAIL_NONE || status == 0 ? 504 : status;
}

static json_t *answer_headers(const struct call *c)
{
	json_t *headers = json_object();
	struct head_reader r;
	struct head_field f;

	if (c->too_large)
		json_object_set_new(headers, "content-type", json_string("application/json"));
	if (c->too_large || c->fail != FAIL_NONE)
		return headers;
	head_reader_init(&r, c->head.data, c->head.bytes);
	while (head_next(&r, &f) == 1) {
		if (f.name[0] != ':')
			add_answer_header(headers, &f);
	}
	return headers;
}

static void put_text(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

/* The message, without a copy of its body: that may be 12 MiB. */
static void put_answer(struct buf *out, struct call *c)
{
	static const char too_large[] =
		"{\"detail\":\"The response is larger than a tunnel of protocol v1 carries.\"}";
	bool whole = !c->too_large && c->fail == FAIL_NONE;
	const void *body = c->too_large ? (const void *)too_large : buf_first(&c->body);
	size_t body_bytes = c->too_large ? sizeof too_large - 1 : whole ? buf_bytes(&c->body) : 0;
	json_t *headers = answer_headers(c);
	char *headers_text = json_dumps(headers, JSON_COMPACT);
	json_t *message = json_pack("{s:s, s:s, s:i}", "correlation_id", c->request.correlation_id,
				    "headers", headers_text, "status_code", answer_status(c));
	char *text = json_dumps(message, JSON_COMPACT);

	CHECK(text != NULL);
	text[strlen(text) - 1] = '\0'; /* the brace */
	put_text(out, text);
	put_text(out, ",\"body\":\"");
	if (body_bytes > 0)
		b64_encode_piece(body, body_bytes,
				 (char *)buf_extend(out, (body_bytes + 2) / 3 * 4));
	put_text(out, "\"}");
	json_decref(message);
	json_decref(headers);
	free(headers_text);
	free(text);
}

static size_t pull(void *session, uint8_t *out, bool *first, bool *final)
{
	struct v1 *v = session;
	struct call *c = TAILQ_FIRST(&v->done);

	if (buf_bytes(&v->out) == 0) {
		if (c == NULL)
			return 0;
		put_answer(&v->out, c);
		v->out_begun = false;
		call_free(c, &v->done);
	}
	size_t bytes = buf_bytes(&v->out);
	if (bytes > FRAGMENT_BYTES)
		bytes = FRAGMENT_BYTES;
	memcpy(out, buf_first(&v->out), bytes);
	buf_consume(&v->out, bytes);
	*first = !v->out_begun;
	*final = buf_bytes(&v->out) == 0;
	v->out_begun = true;
	return bytes;
}

/* --- start and end --- */

static void *open_session(struct origin *origin, const struct session_socket *socket)
{
	struct v1 *v = xcalloc(1, sizeof *v);

	(void)socket; /* nothing that the server may say is worth the tunnel */
	v->origin = origin;
	TAILQ_INIT(&v->running);
	TAILQ_INIT(&v->done);
	return v;
}

/* Ends calls whose response is too large, and lets others go on. Events of a fetch touch no other call. */
static void settle(void *session)
{
	struct v1 *v = session;
	struct call *c, *next;

	if (v->too_large_count + v->waiting_count == 0)
		return;
	for (c = TAILQ_FIRST(&v->running); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->too_large) {
			fetch_cancel(&c->fetch);
			on_end(c, FAIL_BAD_RESPONSE, true);
		} else if (c->waits && may_go_on(c)) {
			set_waits(c, false);
			fetch_resume(c->fetch, false, true);
		}
	}
}

static bool is_unsettled(void *session)
{
	struct v1 *v = session;
	struct call *first = TAILQ_FIRST(&v->running);

	return v->too_large_count > 0 ||
	       (v->waiting_count > 0 &&
		(v->held_bytes <= HELD_MAX_BYTES || (first->waits && may_go_on(first))));
}

static void drain(void *session)
{
	(void)session; /* v1 has no word for it */
}

static bool is_idle(void *session)
{
	struct v1 *v = session;

	return v->call_count == 0 && buf_bytes(&v->out) == 0;
}

static void free_session(void *session)
{
	struct v1 *v = session;

	while (!TAILQ_EMPTY(&v->running))
		call_free(TAILQ_FIRST(&v->running), &v->running);
	while (!TAILQ_EMPTY(&v->done))
		call_free(TAILQ_FIRST(&v->done), &v->done);
	buf_fini(&v->out);
	free(v);
}

const struct session_kind session_v1 = {
	.name = "v1",
	.max_message_bytes = MESSAGE_MAX_BYTES,
	.text = true,
	.open = open_session,
	.receive = receive,
	.pull = pull,
	.settle = settle,
	.is_unsettled = is_unsettled,
	.drain = drain,
	.is_idle = is_idle,
	.free = free_session,
};

const char *v1_library_version(void)
{
	return JANSSON_VERSION;
}
