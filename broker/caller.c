/* broker/caller.c - see caller.h. */
#include "broker/caller.h"

#include "common/http.h"
#include "common/id.h"
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

/* `t` as a field's value; with an empty name. */
static struct head_field as_field(struct listener_text name, struct listener_text value)
{
	return (struct head_field){name.at, name.bytes, value.at, value.bytes};
}

static bool text_is(struct listener_text t, const char *want)
{
	return t.bytes == strlen(want) && strncasecmp(t.at, want, t.bytes) == 0;
}

/* The last element of a list: what the web server in front has added. */
static struct listener_text last_of(struct listener_text list)
{
	for (size_t i = list.bytes; i > 0; i--) {
		if (list.at[i - 1] == ',' || list.at[i - 1] == ' ') {
			list.at += i;
			list.bytes -= i;
			break;
		}
	}
	return list;
}

/* --- names --- */

/* "/id" of the raw path. 0: no id there. */
static size_t read_id(struct caller *c, struct listener_text path)
{
	const char *id = path.at + 1;
	const char *slash = path.bytes > 0 ? memchr(id, '/', path.bytes - 1) : NULL;
	size_t bytes = slash ? (size_t)(slash - id) : path.bytes - (path.bytes > 0);

	if (path.bytes == 0 || path.at[0] != '/' || !connection_id_valid(id, bytes))
		return 0;
	memcpy(c->id, id, bytes);
	return bytes + 1;
}

/* No id there, but one as access rules see the path: decoded, and slashes merged. */
static bool hides_id(struct listener_text path)
{
	char *normal = copy(path);
	size_t bytes = percent_decode(normal, path.bytes, false);
	size_t begin = 0, end;

	while (begin < bytes && normal[begin] == '/')
		begin++;
	for (end = begin; end < bytes && normal[end] != '/'; end++)
		;
	bool hides = connection_id_valid(normal + begin, end - begin);
	free(normal);
	return hides;
}

static bool prefix_is_usable(struct listener_text prefix)
{
	return prefix.bytes > 1 && prefix.bytes < 1024 && prefix.at[0] == '/' &&
	       prefix.at[prefix.bytes - 1] != '/' && http_value_valid(prefix.at, prefix.bytes);
}

static void name_it(struct caller *c, const struct listener_request *r)
{
	struct listener_text mount = listener_find(r, "x-forwarded-prefix");
	struct listener_text host = listener_find(r, "host");
	bool https = text_is(listener_find(r, "x-forwarded-proto"), "https") ||
		     text_is(listener_find(r, "x-forwarded-proto"), "wss");

	if (text_is(mount, "/")) {
		c->prefix = xstrdup("");
	} else {
		size_t mount_bytes = prefix_is_usable(mount) ? mount.bytes : 0;
		c->prefix = xmalloc(mount_bytes + strlen(c->id) + 2);
		memcpy(c->prefix, mount.at, mount_bytes);
		c->prefix[mount_bytes] = '/';
		strcpy(c->prefix + mount_bytes + 1, c->id);
	}
	c->origin = xstrdup("");
	if (host.bytes > 0 && host.bytes < 1024 && http_value_valid(host.at, host.bytes)) {
		free(c->origin);
		c->origin = xmalloc(host.bytes + 9);
		sprintf(c->origin, "%s://%.*s", https ? "https" : "http", (int)host.bytes, host.at);
	}
}

/* --- the head for the local app --- */

static void add(struct head *h, const char *name, struct listener_text value)
{
	if (value.bytes > 0 && http_value_valid(value.at, value.bytes))
		head_add_bytes(h, name, strlen(name), value.at, value.bytes);
}

/* Two Cookie lines become one (RFC 6265 5.4). */
static void add_cookies(struct caller *c, const struct listener_request *r)
{
	char *joined = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&joined, &bytes);

	CHECK(out != NULL);
	for (size_t i = 0; i < r->header_count; i++) {
		struct listener_text value = r->headers[i].value;
		if (text_is(r->headers[i].name, "cookie") &&
		    http_value_valid(value.at, value.bytes))
			fprintf(out, "%s%.*s", ftell(out) > 0 ? "; " : "", (int)value.bytes,
				value.at);
	}
	CHECK(fclose(out) == 0);
	char *repaired = http_cookie_repaired(joined); /* Apache has joined them before */
	add(&c->head, "cookie", (struct listener_text){repaired, bytes});
	free(repaired);
	free(joined);
}

/* The caller's Connection comes as x-pipegate-connection behind Apache, which would take off what it names before this
 * web server's own fields are read. */
static bool named_by_connection(const struct listener_request *r, const struct head_field *f)
{
	for (size_t i = 0; i < r->header_count; i++) {
		struct head_field list = as_field(r->headers[i].name, r->headers[i].value);
		if ((field_is(&list, "connection") || field_is(&list, "x-pipegate-connection")) &&
		    http_list_names(&list, f))
			return true;
	}
	return false;
}

static void add_headers(struct caller *c, const struct listener_request *r)
{
	for (size_t i = 0; i < r->header_count; i++) {
		struct head_field f = as_field(r->headers[i].name, r->headers[i].value);
		if (field_is(&f, "host") || field_is(&f, "cookie") ||
		    field_is(&f, "content-length") || field_is(&f, "x-host") ||
		    http_is_forwarding(&f) || http_hop_by_hop(&f) || named_by_connection(r, &f) ||
		    !http_token_valid(f.name, f.name_bytes) ||
		    !http_value_valid(f.value, f.value_bytes))
			continue;
		head_add_bytes(&c->head, f.name, f.name_bytes, f.value, f.value_bytes);
	}
}

static void build_head(struct caller *c, const struct listener_request *r, size_t stripped)
{
	struct listener_text host = listener_find(r, "host");
	size_t target_bytes = r->path.bytes - stripped;
	char *target = xmalloc(target_bytes + r->query.bytes + 2);
	bool https = strncmp(c->origin, "https", 5) == 0;

	memcpy(target, r->path.at + stripped, target_bytes);
	if (r->has_query) {
		target[target_bytes++] = '?';
		memcpy(target + target_bytes, r->query.at, r->query.bytes);
		target_bytes += r->query.bytes;
	}
	head_add(&c->head, ":method", "GET");
	head_add_bytes(&c->head, ":target", 7, target, target_bytes);
	head_add(&c->head, ":upgrade", "websocket");
	free(target);
	add(&c->head, "host", host);
	add_headers(c, r);
	add_cookies(c, r);
	head_add(&c->head, "x-pipegate-correlation-id", c->corr_hex);
	add(&c->head, "x-forwarded-for", last_of(listener_find(r, "x-forwarded-for")));
	head_add(&c->head, "x-forwarded-proto", https ? "https" : "http");
	add(&c->head, "x-forwarded-host", host);
	if (*c->prefix != '\0')
		head_add(&c->head, "x-forwarded-prefix", c->prefix);
}

static void make_location(struct caller *c, const struct listener_request *r)
{
	c->location = xmalloc(strlen(c->prefix) + r->query.bytes + 3);
	sprintf(c->location, "%s/%s%.*s", c->prefix, r->has_query ? "?" : "", (int)r->query.bytes,
		r->query.at);
}

static void judge(struct caller *c, const struct listener_request *r)
{
	struct listener_text length = listener_find(r, "content-length");
	size_t stripped = read_id(c, r->path);

	name_it(c, r);
	if (stripped == 0)
		c->fail = hides_id(r->path) ? FAIL_BAD_PATH : FAIL_NOT_FOUND;
	else if (!http_path_is_plain(r->path.at, r->path.bytes))
		c->fail = FAIL_BAD_PATH;
	else if ((length.bytes > 0 && !text_is(length, "0")) ||
		 listener_find(r, "transfer-encoding").bytes > 0 ||
		 !http_value_valid(r->query.at, r->query.bytes))
		c->fail = FAIL_BAD_REQUEST; /* a handshake has no body */
	else if (stripped == r->path.bytes)
		make_location(c, r);
	else
		build_head(c, r, stripped);
}

struct caller *caller_read(const struct listener_request *r)
{
	struct caller *c = xcalloc(1, sizeof *c);

	id_random(c->corr, sizeof c->corr);
	id_to_hex(c->corr, sizeof c->corr, c->corr_hex);
	c->accept = copy(listener_find(r, "accept"));
	judge(c, r);
	c->to = (struct answer_to){"HTTP/1.1", c->corr_hex, c->accept, false};
	c->public = (struct public_name){c->prefix, c->origin, c->corr_hex, false, true};
	return c;
}

void caller_free(struct caller *c)
{
	if (c == NULL)
		return;
	head_fini(&c->head);
	free(c->location);
	free(c->prefix);
	free(c->origin);
	free(c->accept);
	free(c);
}
