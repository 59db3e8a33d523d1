/* client/request.c - see request.h. */
#include "client/request.h"

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

/* A pseudo field that is fit for a request line. */
static bool line_part(const void *head, size_t head_bytes, const char *name, struct head_field *f)
{
	return head_find(head, head_bytes, name, f) && f->value_bytes > 0 &&
	       http_value_valid(f->value, f->value_bytes) &&
	       memchr(f->value, ' ', f->value_bytes) == NULL &&
	       memchr(f->value, '\t', f->value_bytes) == NULL;
}

static bool read_method(const void *head, size_t head_bytes, struct head_field *method)
{
	return line_part(head, head_bytes, ":method", method) &&
	       http_token_valid(method->value, method->value_bytes);
}

static bool put_line(struct buf *out, const struct settings *s, const void *head, size_t head_bytes,
		     const char *method, size_t method_bytes)
{
	struct head_field target;

	if (!line_part(head, head_bytes, ":target", &target) || *target.value != '/')
		return false;
	buf_append(out, method, method_bytes);
	put(out, " ");
	put(out, s->target.base);
	buf_append(out, target.value, target.value_bytes);
	put(out, " HTTP/1.1\r\n");
	return true;
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

static bool put_host(struct buf *out, const struct settings *s, const void *head, size_t head_bytes)
{
	const char *name = s->host_header == HOST_NAME ? s->host_name : s->target.authority;
	struct head_field given, host = {"Host", 4, name, strlen(name)};

	if (s->host_header == HOST_KEEP && head_find(head, head_bytes, "host", &given) &&
	    given.value_bytes > 0) {
		host.value = given.value;
		host.value_bytes = given.value_bytes;
	}
	if (!http_value_valid(host.value, host.value_bytes))
		return false;
	put_field(out, &host);
	return true;
}

/* What stands elsewhere, or is between two machines only: a v1 server hands on all that the caller sent. */
static bool is_ours_to_write(const struct http_connection *c, const struct head_field *f)
{
	return f->name[0] == ':' || field_is(f, "host") || field_is(f, "content-length") ||
	       http_hop_by_hop(f) || http_connection_names(c, f);
}

/* The end-to-end fields, Host first; without Content-Length. */
static bool put_fields(struct buf *out, const struct settings *s, const void *head,
		       size_t head_bytes, bool *expects)
{
	struct http_connection connection;
	struct head_reader reader;
	struct head_field f;
	int more;

	*expects = false;
	if (!put_host(out, s, head, head_bytes) ||
	    !http_connection_read(&connection, head, head_bytes))
		return false;
	head_reader_init(&reader, head, head_bytes);
	while ((more = head_next(&reader, &f)) == 1) {
		if (is_ours_to_write(&connection, &f))
			continue;
		if (!http_token_valid(f.name, f.name_bytes) ||
		    !http_value_valid(f.value, f.value_bytes))
			return false;
		while (f.value_bytes > 0 && (*f.value == ' ' || *f.value == '\t')) {
			f.value++;
			f.value_bytes--;
		}
		put_field(out, &f);
		*expects = *expects || (field_is(&f, "expect") && f.value_bytes == 12 &&
					strncasecmp(f.value, "100-continue", 12) == 0);
	}
	return more == 0;
}

/* --- the body --- */

/* No length and no body is what a GET has; a length of 0 is said if the caller said it. */
static bool put_framing(struct buf *out, struct request *r, const void *head, size_t head_bytes)
{
	struct head_field f;
	char length[48];
	bool declared = head_find(head, head_bytes, ":length", &f);

	if (declared && !http_length_parse(f.value, f.value_bytes, &r->body_bytes))
		return false;
	if (r->is_head) {
		r->has_body =
			false; /* it would mean nothing (RFC 9110 9.3.2), and is not sent on */
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
	put(out, "\r\n");
	return true;
}

bool request_write(struct buf *out, struct request *r, const struct settings *s, const void *head,
		   size_t head_bytes, bool has_body)
{
	struct head_field method;

	*r = (struct request){.has_body = has_body};
	if (!read_method(head, head_bytes, &method) ||
	    !put_line(out, s, head, head_bytes, method.value, method.value_bytes) ||
	    !put_fields(out, s, head, head_bytes, &r->expects))
		return false;
	r->is_head = method.value_bytes == 4 && memcmp(method.value, "HEAD", 4) == 0;
	return put_framing(out, r, head, head_bytes);
}

/* --- handshakes --- */

bool request_is_upgrade(const void *head, size_t head_bytes)
{
	struct head_field f;

	return head_find(head, head_bytes, ":upgrade", &f);
}

bool request_write_upgrade(struct buf *out, const struct settings *s, const void *head,
			   size_t head_bytes)
{
	struct head_field method;
	bool expects;

	if (!read_method(head, head_bytes, &method) ||
	    !put_line(out, s, head, head_bytes, "GET", 3) ||
	    !put_fields(out, s, head, head_bytes, &expects))
		return false;
	put(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	return true;
}
