/* broker/ws_request.c - see ws_request.h. */
#include "broker/ws_request.h"

#include "common/http.h"
#include "common/id.h"
#include "common/inbound.h"
#include "common/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *copy(struct listener_text t)
{
	char *text = strndup(t.at, t.bytes);

	CHECK(text != NULL);
	return text;
}

static struct head_field as_field(const struct listener_header *h)
{
	return (struct head_field){h->name.at, h->name.bytes, h->value.at ? h->value.at : "",
				   h->value.bytes};
}

static bool text_is(struct listener_text t, const char *want)
{
	return t.bytes == strlen(want) && strncasecmp(t.at, want, t.bytes) == 0;
}

/* Returns the last element of the last X-Forwarded-For, which the web server in front has added.
 * The caller frees it. */
static char *read_address(const struct listener_request *r)
{
	struct listener_text list = {"", 0};

	for (size_t i = 0; i < r->header_count; i++) {
		if (text_is(r->headers[i].name, "x-forwarded-for") && r->headers[i].value.bytes > 0)
			list = r->headers[i].value;
	}
	for (size_t i = list.bytes; i > 0; i--) {
		if (list.at[i - 1] == ',' || list.at[i - 1] == ' ') {
			list.at += i;
			list.bytes -= i;
			break;
		}
	}
	return copy(list);
}

/* --- names --- */

static bool is_named_by_host(struct listener_text path)
{
	return path.bytes > 0 && path.at[0] == '*';
}

/* Reads the id that the raw path begins with ("/id"), or that it refers to ("*.SUFFIX"). Returns
 * how many bytes to remove from the path, or 0 if there is no id. */
static size_t read_id(struct ws_request *c, const struct listener_request *r)
{
	struct listener_text path = r->path, host = listener_request_find(r, "host");
	const char *rest = path.at + 1;
	size_t rest_bytes = path.bytes - (path.bytes > 0);
	const char *slash = rest_bytes > 0 ? memchr(rest, '/', rest_bytes) : NULL;
	size_t bytes = slash ? (size_t)(slash - rest) : rest_bytes;

	if (is_named_by_host(path))
		return id_from_host(c->id, host.at, host.bytes, rest, bytes) ? bytes + 1 : 0;
	if (path.bytes == 0 || path.at[0] != '/' || !id_connection_valid(rest, bytes))
		return 0;
	memcpy(c->id, rest, bytes);
	return bytes + 1;
}

/* True if a path without an id has one in the form that access rules of the web server see:
 * decoded, with slashes merged. */
static bool hides_id(struct listener_text path)
{
	char *normal = copy(path);
	size_t bytes = query_percent_decode(normal, path.bytes, false);
	size_t begin = 0, end;

	while (begin < bytes && normal[begin] == '/')
		begin++;
	for (end = begin; end < bytes && normal[end] != '/'; end++)
		;
	bool hides = id_connection_valid(normal + begin, end - begin);
	free(normal);
	return hides;
}

static bool prefix_is_usable(struct listener_text prefix)
{
	return prefix.bytes > 1 && prefix.bytes < 1024 && prefix.at[0] == '/' &&
	       prefix.at[prefix.bytes - 1] != '/' && http_value_valid(prefix.at, prefix.bytes);
}

static void read_public_name(struct ws_request *c, const struct listener_request *r)
{
	struct listener_text mount = listener_request_find(r, "x-forwarded-prefix");
	struct listener_text proto = listener_request_find(r, "x-forwarded-proto");

	if (text_is(mount, "/") || is_named_by_host(r->path)) {
		c->prefix = xstrdup("");
	} else {
		size_t mount_bytes = prefix_is_usable(mount) ? mount.bytes : 0;
		c->prefix = xmalloc(mount_bytes + strlen(c->id) + 2);
		memcpy(c->prefix, mount.at, mount_bytes);
		c->prefix[mount_bytes] = '/';
		strcpy(c->prefix + mount_bytes + 1, c->id);
	}
	c->https = text_is(proto, "https") || text_is(proto, "wss");
	c->host = copy(listener_request_find(r, "host"));
	c->origin = inbound_origin(c->host, c->https);
}

/* --- the head for the local app --- */

/* Reads the caller's Connection. Behind Apache, it arrives as x-pipegate-connection, because Apache
 * would remove the fields that it names, including those that the web server has set. False: it
 * names too many fields. */
static bool read_connection(struct inbound *in, const struct listener_request *r)
{
	for (size_t i = 0; i < r->header_count; i++) {
		struct head_field f = as_field(&r->headers[i]);
		if ((field_is(&f, "connection") || field_is(&f, "x-pipegate-connection")) &&
		    !inbound_connection(in, f.value, f.value_bytes))
			return false;
	}
	return true;
}

/* Apache joins two Cookie fields by ", ". Only its configuration sets this field. */
static bool is_behind_apache(const struct listener_request *r)
{
	return listener_request_find(r, "x-pipegate-connection").bytes > 0;
}

/* lighttpd is configured to write to Forwarded whose password it has checked. It drops a
 * caller's own Forwarded. */
static bool password_is_checked(const struct listener_request *r)
{
	struct listener_text forwarded = listener_request_find(r, "forwarded");

	return forwarded.bytes > 0 && memmem(forwarded.at, forwarded.bytes,
					     "remote_user=", strlen("remote_user=")) != NULL;
}

static void add_target(struct ws_request *c, const struct listener_request *r, size_t removed_bytes)
{
	struct buf target = {0};

	/* Not a redirect to the slash: browsers do not follow redirects of handshakes. */
	if (removed_bytes == r->path.bytes)
		buf_append(&target, "/", 1);
	buf_append(&target, r->path.at + removed_bytes, r->path.bytes - removed_bytes);
	if (r->has_query) {
		buf_append(&target, "?", 1);
		buf_append(&target, r->query.at, r->query.bytes);
	}
	head_add_bytes(&c->head, ":target", 7, buf_first(&target), buf_bytes(&target));
	buf_fini(&target);
}

static void build_head(struct ws_request *c, const struct listener_request *r, size_t removed_bytes)
{
	char *address = read_address(r);
	const struct inbound_public public = {
		.corr_hex = c->corr_hex,
		.address = address,
		.host = c->host,
		.prefix = c->prefix,
		.origin = c->origin,
		.https = c->https,
		.password_checked = password_is_checked(r),
		.joins_cookies_by_comma = is_behind_apache(r),
	};
	struct inbound in;

	head_add(&c->head, ":method", "GET");
	add_target(c, r, removed_bytes);
	head_add(&c->head, ":upgrade", "websocket");
	inbound_init(&in, &public, &c->head);
	if (!read_connection(&in, r))
		c->fail = FAIL_BAD_REQUEST;
	for (size_t i = 0; i < r->header_count && c->fail == FAIL_NONE; i++) {
		struct head_field f = as_field(&r->headers[i]);
		inbound_field(&in, &f);
	}
	inbound_finish(&in);
	free(address);
}

static void read_request(struct ws_request *c, const struct listener_request *r)
{
	size_t removed_bytes = read_id(c, r);

	read_public_name(c, r);
	if (removed_bytes == 0)
		c->fail = !is_named_by_host(r->path) && hides_id(r->path) ? FAIL_BAD_PATH
									  : FAIL_NOT_FOUND;
	else if (!http_path_is_plain(r->path.at, r->path.bytes))
		c->fail = FAIL_BAD_PATH;
	else if (!http_value_valid(r->query.at, r->query.bytes))
		c->fail = FAIL_BAD_REQUEST;
	else
		build_head(c, r, removed_bytes);
}

struct ws_request *ws_request_read(const struct listener_request *r)
{
	struct ws_request *c = xcalloc(1, sizeof *c);

	id_random(c->corr, sizeof c->corr);
	id_to_hex(c->corr, sizeof c->corr, c->corr_hex);
	c->accept = copy(listener_request_find(r, "accept"));
	read_request(c, r);
	c->to = (struct local_reply_to){"HTTP/1.1", c->corr_hex, c->accept, false};
	c->public = (struct public_name){c->prefix, c->origin, c->corr_hex, false, true};
	return c;
}

void ws_request_free(struct ws_request *c)
{
	if (c == NULL)
		return;
	head_fini(&c->head);
	free(c->prefix);
	free(c->origin);
	free(c->host);
	free(c->accept);
	free(c);
}
