/* client/request_writer.c - see request_writer.h. */
#include "client/request_writer.h"

#include "client/response_head.h"
#include "client/base.h"
#include "common/destination.h"
#include "common/head.h"
#include "common/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static void put(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

/* --- the request line --- */

/* Finds a pseudo field that is valid in a request line. */
static bool find_line_part(const struct request_input *in, const char *name, struct head_field *f)
{
	return head_find(in->head, in->head_bytes, name, f) && f->value_bytes > 0 &&
	       http_value_valid(f->value, f->value_bytes) &&
	       memchr(f->value, ' ', f->value_bytes) == NULL &&
	       memchr(f->value, '\t', f->value_bytes) == NULL;
}

static bool read_method(const struct request_input *in, struct head_field *method)
{
	return find_line_part(in, ":method", method) &&
	       http_token_valid(method->value, method->value_bytes);
}

static enum fail put_request_line(struct buf *out, const struct request_input *in,
				  const char *method, size_t method_bytes)
{
	struct head_field target;

	if (!find_line_part(in, ":target", &target) || *target.value != '/')
		return FAIL_BAD_REQUEST;
	if (!base_holds(in->target->base, target.value, target.value_bytes))
		return FAIL_BAD_PATH;
	buf_append(out, method, method_bytes);
	put(out, " ");
	put(out, in->target->base);
	buf_append(out, target.value, target.value_bytes);
	put(out, " HTTP/1.1\r\n");
	return FAIL_NONE;
}

/* --- fields --- */

static void put_field(struct buf *out, const struct head_field *f)
{
	uint8_t *at = buf_extend(out, f->name_bytes + f->value_bytes + 4);

	memcpy(at, f->name, f->name_bytes);
	at += f->name_bytes;
	memcpy(at, ": ", 2);
	if (f->value_bytes > 0)
		memcpy(at + 2, f->value, f->value_bytes);
	memcpy(at + 2 + f->value_bytes, "\r\n", 2);
}

/* The Host field for the app. */
static struct head_field host_for_app(const struct request_input *in)
{
	const struct target *t = in->target;
	const char *name = t->host_header == HOST_NAME ? t->host_name : t->authority;
	struct head_field given, host = {"Host", 4, name, strlen(name)};

	if (t->host_header == HOST_KEEP && head_find(in->head, in->head_bytes, "host", &given) &&
	    given.value_bytes > 0) {
		host.value = given.value;
		host.value_bytes = given.value_bytes;
	}
	return host;
}

static bool put_host(struct buf *out, const struct request_input *in)
{
	struct head_field host = host_for_app(in);

	if (!http_value_valid(host.value, host.value_bytes))
		return false;
	put_field(out, &host);
	return true;
}

/* How the fields Destination and If (WebDAV) name the app: by its own scheme, Host and base, with
 * which the app compares them. The public prefix is already removed. */
struct app_names {
	struct destination_map map;
	struct buf origin;
	bool ready;
};

static void app_names_init(struct app_names *n, const struct request_input *in)
{
	const struct target *t = in->target;
	struct head_field host = host_for_app(in), public;

	n->ready = true;
	n->map.from_prefix = "";
	n->map.to_prefix = t->base;
	if (!head_find(in->head, in->head_bytes, "host", &public) ||
	    !place_read_host(&n->map.from, SCHEME_HTTP, public.value, public.value_bytes))
		n->map.from = (struct place){0};
	put(&n->origin, strncmp(t->origin, "https", 5) == 0 ? "https://" : "http://");
	buf_append(&n->origin, host.value, host.value_bytes);
	buf_append(&n->origin, "", 1);
	n->map.to_origin = (const char *)buf_first(&n->origin);
}

/* Returns true if `url`, the value of a Destination, is below the base. A URL of the public host,
 * of the target, or a path names the app and must not leave the base. */
static bool stays_in_base(const struct app_names *n, const struct target *t, const char *url,
			  size_t bytes)
{
	const char *base = n->map.to_prefix;
	size_t base_bytes = strlen(base);
	struct place at, target, app;
	bool whole = place_read(&at, url, bytes);

	if (base_bytes == 0)
		return true;
	if (whole && !place_is_at(&at, &n->map.from) &&
	    !(place_read(&target, t->origin, strlen(t->origin)) && place_is_at(&at, &target)) &&
	    !(place_read(&app, n->map.to_origin, strlen(n->map.to_origin)) &&
	      place_is_at(&at, &app)))
		/* Another server. RFC 4918 8.3 does not allow "//host/x"; apps read it as a
		 * path. */
		return at.scheme != SCHEME_LEFT_OUT;
	if (!whole && bytes > 0 && *url != '/')
		return base_holds(base, url, bytes); /* not a URL for us */
	size_t skipped = whole ? at.bytes : 0;
	return place_is_below(url + skipped, bytes - skipped, base, base_bytes) &&
	       base_holds(base, url + skipped + base_bytes, bytes - skipped - base_bytes);
}

/* Returns false if it would leave the base. */
static bool put_place(struct buf *out, const struct app_names *n, const struct target *t,
		      const struct head_field *f)
{
	struct buf value = {0};

	destination_write(&value, &n->map, f);
	const char *text = buf_bytes(&value) > 0 ? (const char *)buf_first(&value) : "";
	struct head_field named = {f->name, f->name_bytes, text, buf_bytes(&value)};
	bool good = field_is(f, "if") || stays_in_base(n, t, text, named.value_bytes);
	if (good)
		put_field(out, &named);
	buf_fini(&value);
	return good;
}

/* Fields that we write ourselves, or that are hop-by-hop: a v1 server forwards all fields of the
 * caller. */
static bool is_ours_to_write(const struct http_connection *c, const struct head_field *f)
{
	return f->name[0] == ':' || field_is(f, "host") || field_is(f, "content-length") ||
	       http_hop_by_hop(f) || http_connection_names(c, f);
}

/* Notes what a field means for the connection. */
static void note_field(struct written_request *r, const struct head_field *f)
{
	if (field_is(f, "expect"))
		r->expects = r->expects || (f->value_bytes == 12 &&
					    strncasecmp(f->value, "100-continue", 12) == 0);
	else if (field_is(f, "authorization"))
		r->is_last = r->is_last || response_head_binds_connection(f);
}

/* Writes the end-to-end fields, Host first, without Content-Length. */
static bool put_fields(struct buf *out, struct written_request *r, const struct request_input *in)
{
	struct http_connection connection = {0};
	struct head_reader reader;
	struct app_names app_names = {0};
	struct head_field f;
	int more;

	if (!put_host(out, in) || !http_connection_read(&connection, in->head, in->head_bytes))
		return false;
	head_reader_init(&reader, in->head, in->head_bytes);
	while ((more = head_next(&reader, &f)) == 1) {
		if (is_ours_to_write(&connection, &f))
			continue;
		if (!http_token_valid(f.name, f.name_bytes) ||
		    !http_value_valid(f.value, f.value_bytes)) {
			more = -1;
			break;
		}
		while (f.value_bytes > 0 && (*f.value == ' ' || *f.value == '\t')) {
			f.value++;
			f.value_bytes--;
		}
		bool names_place = destination_is_in(&f);
		if (names_place && !app_names.ready)
			app_names_init(&app_names, in);
		if (!names_place) {
			put_field(out, &f);
		} else if (!put_place(out, &app_names, in->target, &f)) {
			more = -1;
			break;
		}
		note_field(r, &f);
	}
	buf_fini(&app_names.origin);
	return more == 0;
}

/* --- the body --- */

/* A request without length and body is like a GET. A length of 0 is sent if the caller sent it. */
static bool put_framing(struct buf *out, struct written_request *r, const struct request_input *in)
{
	struct head_field f;
	char length[48];
	bool declared = head_find(in->head, in->head_bytes, ":length", &f);

	if (declared && !http_length_parse(f.value, f.value_bytes, &r->body_bytes))
		return false;
	if (r->is_head) {
		r->has_body = false; /* it would have no meaning (RFC 9110 9.3.2) */
	} else if (declared && r->body_bytes == 0) {
		r->has_body = false;
		put(out, "Content-Length: 0\r\n");
	} else if (r->has_body && declared) {
		snprintf(length, sizeof length, "Content-Length: %lld\r\n", r->body_bytes);
		put(out, length);
	} else if (r->has_body) {
		r->chunked = true;
		put(out, "Transfer-Encoding: chunked\r\n");
	}
	return true;
}

static bool is_method(const struct head_field *method, const char *name)
{
	return method->value_bytes == strlen(name) &&
	       memcmp(method->value, name, method->value_bytes) == 0;
}

/* Returns true if nothing of the request or its response can be left on the connection. After a
 * body, it can: an app that has not read the body takes its bytes for the next request, and we
 * cannot see whether it has read it. HEAD: some apps send a body after the head. Other methods: we
 * do not know what the app does with them. */
static bool leaves_connection_clean(const struct written_request *r,
				    const struct head_field *method)
{
	return !r->has_body && (is_method(method, "GET") || is_method(method, "OPTIONS"));
}

enum fail request_writer_write(struct buf *out, struct written_request *r,
			       const struct request_input *in)
{
	struct head_field method;
	enum fail f;

	*r = (struct written_request){.has_body = in->has_body};
	if (!read_method(in, &method))
		return FAIL_BAD_REQUEST;
	f = put_request_line(out, in, method.value, method.value_bytes);
	if (f != FAIL_NONE)
		return f;
	r->is_head = is_method(&method, "HEAD");
	if (!put_fields(out, r, in) || !put_framing(out, r, in))
		return FAIL_BAD_REQUEST;
	r->is_last = r->is_last || !in->keeps_open || !leaves_connection_clean(r, &method);
	put(out, r->is_last ? "Connection: close\r\n\r\n" : "\r\n");
	return FAIL_NONE;
}

/* --- handshakes --- */

bool request_writer_is_upgrade(const void *head, size_t head_bytes)
{
	struct head_field f;

	return head_find(head, head_bytes, ":upgrade", &f);
}

enum fail request_writer_write_upgrade(struct buf *out, const struct request_input *in)
{
	struct written_request r = {0};
	struct head_field method;
	enum fail f;

	if (!read_method(in, &method))
		return FAIL_BAD_REQUEST;
	f = put_request_line(out, in, "GET", 3);
	if (f == FAIL_NONE && !put_fields(out, &r, in))
		f = FAIL_BAD_REQUEST;
	put(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	return f;
}
