/* broker/listener_request.c - see listener_request.h. */
#include "broker/listener_request.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

struct parse {
	struct listener_request *request;
	struct listener_text target;
	bool too_many_fields, in_value, complete;
};

static struct parse *parse_of(http_parser *p)
{
	return p->data;
}

static void extend(struct listener_text *t, const char *at, size_t bytes)
{
	if (t->bytes == 0)
		t->at = at;
	t->bytes += bytes;
}

static int on_target(http_parser *p, const char *at, size_t bytes)
{
	extend(&parse_of(p)->target, at, bytes);
	return 0;
}

static int on_header_name(http_parser *p, const char *at, size_t bytes)
{
	struct parse *x = parse_of(p);
	struct listener_request *r = x->request;

	if (r->header_count == 0 || x->in_value) {
		if (r->header_count == LISTENER_REQUEST_FIELDS_MAX) {
			x->too_many_fields = true;
			return 1;
		}
		r->header_count++;
	}
	x->in_value = false;
	extend(&r->headers[r->header_count - 1].name, at, bytes);
	return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t bytes)
{
	struct parse *x = parse_of(p);
	struct listener_text *value = &x->request->headers[x->request->header_count - 1].value;

	/* A folded line (RFC 9112 5.2, obsolete): its value is not contiguous. */
	if (value->bytes > 0 && at != value->at + value->bytes)
		return 1;
	x->in_value = true;
	extend(value, at, bytes);
	return 0;
}

static int on_headers_complete(http_parser *p)
{
	parse_of(p)->complete = true;
	return 2; /* expect no body, whatever the headers declare */
}

static void split_target(struct listener_request *r, struct listener_text target)
{
	const char *question = memchr(target.at, '?', target.bytes);
	size_t path_bytes = question ? (size_t)(question - target.at) : target.bytes;

	r->path = (struct listener_text){target.at, path_bytes};
	/* A leading "/./" means "/" (RFC 3986 5.2.4). lighttpd is configured to write it: see
	 * conf/lighttpd/pipegate.conf. */
	if (path_bytes >= 3 && memcmp(r->path.at, "/./", 3) == 0) {
		r->path.at += 2;
		r->path.bytes -= 2;
	}
	r->has_query = question != NULL;
	if (r->has_query)
		r->query = (struct listener_text){question + 1, target.bytes - path_bytes - 1};
}

int listener_request_parse(struct listener_request *r, const char *text, size_t bytes)
{
	static const http_parser_settings settings = {
		.on_url = on_target,
		.on_header_field = on_header_name,
		.on_header_value = on_header_value,
		.on_headers_complete = on_headers_complete,
	};
	struct parse x = {.request = r};
	http_parser parser;

	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &x;
	*r = (struct listener_request){.path = {"", 0}, .query = {"", 0}};
	size_t used = http_parser_execute(&parser, &settings, text, bytes);
	r->method = http_method_str((enum http_method)parser.method);
	r->connection_upgrade = (parser.flags & F_CONNECTION_UPGRADE) != 0;
	r->http_minor = parser.http_major == 1 ? (int)parser.http_minor : -1;
	r->extra = (struct listener_text){text + used, bytes - used};
	if (x.too_many_fields || (!x.complete && bytes == LISTENER_REQUEST_MAX_BYTES))
		return 431;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || x.target.bytes == 0)
		return 400;
	split_target(r, x.target);
	return 0;
}

struct listener_text listener_request_find(const struct listener_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++) {
		const struct listener_header *h = &r->headers[i];
		if (h->name.bytes == strlen(name) && h->value.bytes > 0 &&
		    strncasecmp(h->name.at, name, h->name.bytes) == 0)
			return h->value;
	}
	return (struct listener_text){"", 0};
}
