/* common/rewrite.c - see rewrite.h. */
#include "common/rewrite.h"

#include "common/http.h"
#include "common/http_reason.h"
#include "common/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Limit on the rewritten head. It may grow, because each Path attribute of a cookie gets the
 * prefix; a larger one is an invalid response. */
enum { WRITTEN_MAX_BYTES = 2 * HEAD_MAX_BYTES };

static void put(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

static void put_line(struct buf *out, const struct head_field *f, const char *value,
		     size_t value_bytes)
{
	buf_append(out, f->name, f->name_bytes);
	put(out, ": ");
	buf_append(out, value, value_bytes);
	put(out, "\r\n");
}

/* Fields on which a web server would act (X-Sendfile, X-Accel-*), and our own x-pipegate-*. */
static bool is_forbidden(const struct head_field *f)
{
	static const char *const prefixes[] = {"x-sendfile",  "x-send-file",  "x-accel-",
					       "x-lighttpd-", "x-litespeed-", "x-pipegate-"};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		if (http_name_begins(f, prefixes[i]))
			return true;
	}
	return http_name_is(f, "status");
}

/* Removes the blanks around a value. They are not a part of it (RFC 9110 5.5), and web servers skip
 * them, so our checks must not see them either. */
static void trim(struct head_field *f)
{
	while (f->value_bytes > 0 && (*f->value == ' ' || *f->value == '\t')) {
		f->value++;
		f->value_bytes--;
	}
	while (f->value_bytes > 0 &&
	       (f->value[f->value_bytes - 1] == ' ' || f->value[f->value_bytes - 1] == '\t'))
		f->value_bytes--;
}

/* --- public names for local ones --- */

struct names {
	const struct public_name *q;
	/* The origins of `q->origin`, of ":origin", and of ":host" with the scheme of ":origin".
	 * All 0: there is none. */
	struct place public, local, told;
	const char *base; /* the client puts it before each path */
	size_t base_bytes;
};

static void names_init(struct names *n, const struct public_name *q, const void *head,
		       size_t head_bytes)
{
	struct head_field f;

	*n = (struct names){.q = q};
	if (!place_read(&n->public, q->origin, strlen(q->origin)))
		n->public = (struct place){0};
	if (!head_find(head, head_bytes, ":origin", &f) ||
	    !place_read(&n->local, f.value, f.value_bytes) || n->local.scheme == SCHEME_LEFT_OUT)
		n->local = (struct place){0};
	if (n->local.host_bytes == 0)
		return;
	n->base = f.value + n->local.bytes;
	n->base_bytes = f.value_bytes - n->local.bytes;
	while (n->base_bytes > 0 && n->base[n->base_bytes - 1] == '/')
		n->base_bytes--;
	if (!head_find(head, head_bytes, ":host", &f) ||
	    !place_read_host(&n->told, n->local.scheme, f.value, f.value_bytes))
		n->told = (struct place){0};
}

/* Returns whether the path begins with the app's base. False for "/base//host": without the base it
 * would be "//host", a URL of another host. */
static bool has_base(const struct names *n, const char *path, size_t bytes)
{
	if (n->base_bytes == 0 || !place_is_below(path, bytes, n->base, n->base_bytes))
		return false;
	return bytes == n->base_bytes || path[n->base_bytes] != '/' ||
	       place_is_path(path + n->base_bytes, bytes - n->base_bytes);
}

/* Writes the public form of a path of the app: below the prefix and without the base. A path that
 * already has the prefix stays unchanged, unless the base is longer and begins with the prefix. */
static void put_path(struct buf *out, const struct names *n, const char *path, size_t bytes)
{
	const char *prefix = n->q->prefix;
	size_t prefix_bytes = strlen(prefix);
	bool based = has_base(n, path, bytes);

	if (place_is_below(path, bytes, prefix, prefix_bytes) &&
	    !(based && n->base_bytes > prefix_bytes)) {
		buf_append(out, path, bytes);
		return;
	}
	size_t skipped = based ? n->base_bytes : 0;
	put(out, prefix);
	if (bytes == skipped || path[skipped] != '/')
		put(out, "/");
	buf_append(out, path + skipped, bytes - skipped);
}

/* Writes the public form of a URL of the app; with `absolute`, never as a path alone. The scheme
 * becomes the public one, with one exception: a URL of the public host with https stays https on an
 * http site, because the app redirects to https on purpose. */
static void put_url(struct buf *out, const struct names *n, const char *url, size_t bytes,
		    bool absolute)
{
	struct place at;
	bool path = place_is_path(url, bytes), whole = place_read(&at, url, bytes);
	bool public = whole && place_is_at(&at, &n->public);

	if (!path && !public &&
	    !(whole && (place_is_at(&at, &n->local) || place_is_at(&at, &n->told)))) {
		buf_append(out, url, bytes);
		return;
	}
	size_t origin_bytes = whole ? at.bytes : 0;
	if (public && at.scheme == SCHEME_HTTPS && n->public.scheme == SCHEME_HTTP)
		buf_append(out, url, origin_bytes);
	else if (whole || absolute)
		put(out, n->q->origin);
	put_path(out, n, url + origin_bytes, bytes - origin_bytes);
}

/* A 200 with "Location: /path" makes Apache and other CGI gateways serve that path instead (RFC
 * 3875 6.2.2: local redirect), which would bypass the access rules. So it is written as an
 * absolute URL. */
static bool would_redirect_inside(int status, const struct head_field *f)
{
	return status == 200 && field_is(f, "location");
}

static void put_location(struct buf *out, const struct names *n, int status,
			 const struct head_field *f)
{
	struct buf url = {0};
	bool inside = would_redirect_inside(status, f);

	put_url(&url, n, f->value, f->value_bytes, inside);
	/* "//host/x" would still be a local redirect, and so would a path if the caller sent no
	 * Host. */
	if (!(inside && buf_bytes(&url) > 0 && *buf_first(&url) == '/'))
		put_line(out, f, (const char *)buf_first(&url), buf_bytes(&url));
	buf_fini(&url);
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

/* Skips "url =", ignoring case. Returns `at` if the text is different. */
static const char *skip_url_name(const char *at, const char *end)
{
	const char *equals = end - at > 3 ? skip_blanks(at + 3, end) : end;

	if (equals == end || *equals != '=' || strncasecmp(at, "url", 3) != 0)
		return at;
	return skip_blanks(equals + 1, end);
}

/* Returns where the URL of a Refresh field begins, by the rules of browsers: "5; url=/x", "0,/x",
 * "1 ; URL = '/x'" (HTML, "shared declarative refresh steps"). NULL: it has none. */
static const char *refresh_url(const struct head_field *f)
{
	const char *end = f->value + f->value_bytes, *time = f->value, *at;

	for (at = time; at < end && ((*at >= '0' && *at <= '9') || *at == '.'); at++)
		;
	const char *behind = at;
	at = skip_blanks(at, end);
	if (behind == time || at == end || (at == behind && *at != ';' && *at != ','))
		return NULL;
	if (*at == ';' || *at == ',')
		at = skip_blanks(at + 1, end);
	at = skip_url_name(at, end);
	if (at < end && (*at == '"' || *at == '\''))
		at++;
	return at < end ? at : NULL;
}

static void put_refresh(struct buf *out, const struct names *n, const struct head_field *f)
{
	const char *end = f->value + f->value_bytes, *url = refresh_url(f), *stop = NULL;
	struct buf value = {0};

	if (url == NULL) {
		put_line(out, f, f->value, f->value_bytes);
		return;
	}
	if (url[-1] == '"' || url[-1] == '\'')
		stop = memchr(url, url[-1], (size_t)(end - url));
	if (stop == NULL)
		stop = end;
	buf_append(&value, f->value, (size_t)(url - f->value));
	put_url(&value, n, url, (size_t)(stop - url), false);
	buf_append(&value, stop, (size_t)(end - stop));
	put_line(out, f, (const char *)buf_first(&value), buf_bytes(&value));
	buf_fini(&value);
}

/* Returns whether a part of a cookie, with its leading ';', is the attribute of that name.
 * *value is then its value as browsers read it, without the blanks around it (RFC 6265 5.2). */
static bool is_attribute(const char *part, size_t bytes, const char *name, struct head_field *value)
{
	const char *equals = memchr(part, '=', bytes);

	if (equals == NULL)
		return false;
	struct head_field written = {.value = part + 1, .value_bytes = (size_t)(equals - part) - 1};
	trim(&written);
	value->value = equals + 1;
	value->value_bytes = (size_t)(part + bytes - value->value);
	trim(value);
	return written.value_bytes == strlen(name) &&
	       strncasecmp(written.value, name, written.value_bytes) == 0;
}

/* Returns whether a cookie's Domain names the app's own host. */
static bool is_local(struct head_field domain, const struct names *n)
{
	struct place p;

	if (domain.value_bytes > 0 && *domain.value == '.') {
		domain.value++;
		domain.value_bytes--;
	}
	return place_read_host(&p, SCHEME_LEFT_OUT, domain.value, domain.value_bytes) &&
	       !place_same_host(&p, &n->public) &&
	       (place_same_host(&p, &n->local) || place_same_host(&p, &n->told));
}

/* Writes one attribute of a cookie (RFC 6265 4.1.1), with its leading ';'. A Domain that names the
 * app's own host is left out: the browser would reject the cookie. */
static void put_cookie_part(struct buf *out, const struct names *n, const char *part, size_t bytes)
{
	struct head_field f;

	if (is_attribute(part, bytes, "path", &f) && f.value_bytes > 0 && *f.value == '/') {
		const char *rest = f.value + f.value_bytes;
		buf_append(out, part, (size_t)(f.value - part));
		put_path(out, n, f.value, f.value_bytes);
		buf_append(out, rest, (size_t)(part + bytes - rest));
	} else if (!(is_attribute(part, bytes, "domain", &f) && is_local(f, n))) {
		buf_append(out, part, bytes);
	}
}

static void put_cookie(struct buf *out, const struct names *n, const struct head_field *f)
{
	const char *at = f->value, *end = at + f->value_bytes;
	struct buf value = {0};

	for (bool first = true; (at < end || first) && buf_bytes(&value) < WRITTEN_MAX_BYTES;
	     first = false) {
		const char *stop =
			at < end ? memchr(at + !first, ';', (size_t)(end - at - !first)) : NULL;
		if (stop == NULL)
			stop = end;
		if (first)
			buf_append(&value, at, (size_t)(stop - at));
		else
			put_cookie_part(&value, n, at, (size_t)(stop - at));
		at = stop;
	}
	put_line(out, f, (const char *)buf_first(&value), buf_bytes(&value));
	buf_fini(&value);
}

/* --- the head --- */

static bool read_status(const void *head, size_t bytes, bool is_upgrade, int *out)
{
	struct head_field f;
	long long status;

	if (!head_find(head, bytes, ":status", &f) || f.value_bytes != 3 ||
	    !http_length_parse(f.value, 3, &status) || status > 599 ||
	    (status < 200 && !(is_upgrade && status == 101)))
		return false;
	*out = (int)status;
	return true;
}

static bool fields_are_valid(const void *head, size_t bytes)
{
	struct head_reader reader;
	struct head_field f;
	int more;

	head_reader_init(&reader, head, bytes);
	while ((more = head_next(&reader, &f)) == 1) {
		bool pseudo = f.name[0] == ':';
		if (!http_value_valid(f.value, f.value_bytes) ||
		    !http_token_valid(f.name + pseudo, f.name_bytes - pseudo))
			return false;
	}
	return more == 0;
}

/* Reads the declared length. All Content-Length fields must agree (RFC 9110 8.6). */
static bool read_length(struct response *r, const struct head_field *f)
{
	long long length;

	if (!http_content_length(f->value, f->value_bytes, &length) ||
	    (r->has_length && r->length_bytes != length))
		return false;
	r->has_length = true;
	r->length_bytes = length;
	return true;
}

static bool put_field(struct response *r, const struct names *n, const struct http_connection *c,
		      const struct head_field *f, struct buf *out)
{
	char number[24];

	/* Clients of v1 pass on the app's Transfer-Encoding, although the body they send is already
	 * decoded from "chunked". A body with any other coding is still encoded, and the caller
	 * would not know. */
	if (field_is(f, "transfer-encoding") && f->value_bytes > 0)
		return http_is_chunked(f->value, f->value_bytes);
	if (f->name[0] == ':' || is_forbidden(f) || http_hop_by_hop(f) ||
	    http_connection_names(c, f))
		return true;
	if (field_is(f, "content-length")) {
		bool again = r->has_length;
		if (!read_length(r, f))
			return false;
		int digits = snprintf(number, sizeof number, "%lld", (long long)r->length_bytes);
		if (!again && r->status != 204 && r->status != 205 && r->status != 101)
			put_line(out, f, number, (size_t)digits);
	} else if (field_is(f, "location") || field_is(f, "content-location")) {
		put_location(out, n, r->status, f);
	} else if (field_is(f, "refresh")) {
		put_refresh(out, n, f);
	} else if (field_is(f, "set-cookie")) {
		put_cookie(out, n, f);
	} else {
		put_line(out, f, f->value, f->value_bytes);
	}
	return true;
}

bool rewrite_response(struct response *r, const struct public_name *q, const char *status_line,
		      const void *head, size_t head_bytes, struct buf *out)
{
	struct names names;
	struct http_connection connection;
	struct head_reader reader;
	struct head_field f;
	char line[96];

	*r = (struct response){0};
	if (head_bytes > HEAD_MAX_BYTES || !fields_are_valid(head, head_bytes) ||
	    !read_status(head, head_bytes, q->is_upgrade, &r->status))
		return false;
	names_init(&names, q, head, head_bytes);
	if (!http_connection_read(&connection, head, head_bytes))
		return false;
	r->bodiless = q->is_head || r->status == 101 || r->status == 204 || r->status == 205 ||
		      r->status == 304;

	snprintf(line, sizeof line, "%s %d %s\r\n", status_line, r->status, http_reason(r->status));
	put(out, line);
	head_reader_init(&reader, head, head_bytes);
	while (head_next(&reader, &f) == 1) {
		trim(&f);
		if (!put_field(r, &names, &connection, &f, out) ||
		    buf_bytes(out) > WRITTEN_MAX_BYTES)
			return false;
	}
	/* RFC 9110 15.3.6: a 205 has no content. Recipients differ on whether to expect some, so
	 * the length is stated. */
	if (r->status == 205)
		put(out, "content-length: 0\r\n");
	snprintf(line, sizeof line, "x-pipegate-correlation-id: %s\r\n", q->corr_hex);
	put(out, line);
	return true;
}

size_t rewrite_pass(struct response *r, size_t bytes)
{
	if (r->bodiless)
		return 0;
	if (r->has_length && (int64_t)bytes > r->length_bytes - r->passed_bytes)
		bytes = (size_t)(r->length_bytes - r->passed_bytes);
	r->passed_bytes += (int64_t)bytes;
	return bytes;
}

bool rewrite_is_whole(const struct response *r)
{
	return r->bodiless || !r->has_length || r->passed_bytes == r->length_bytes;
}
