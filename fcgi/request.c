/* fcgi/request.c - see request.h.
 *
 * The web server's access rules were applied to the normalised path; the local app receives the raw
 * one. So that no caller bypasses a rule on /t/private with /t/private/%2e%2e/x, the two must
 * agree: the raw path must begin, byte for byte, with the mount and the id of the normalised
 * one, and must not contain "..". */
#include "fcgi/request.h"

#include "common/access_log.h"
#include "common/http.h"
#include "common/id.h"
#include "common/inbound.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 256 };

static const char *get(const struct request_parameters *p, const char *name)
{
	const char *value = p->get(p->ctx, name);

	return value ? value : "";
}

static void refuse(struct request *r, enum fail f)
{
	r->kind = REQUEST_REFUSED;
	r->fail = f;
}

/* Refuses a request over a wrong parameter of the web server's configuration, which affects each
 * request. */
static void complain(const struct request *r, const char *name)
{
	log_limited_error("", "request.bad_parameter name=%s corr=%s", name, r->corr_hex);
}

/* --- which tunnel --- */

struct raw_target {
	const char *raw; /* REQUEST_URI */
	size_t path_bytes;
	const char *query; /* with its '?'; "" without */
	char *normal;	   /* owned: what the web server's rules saw */
	bool is_read;	   /* GET or HEAD */
};

static char *join(const char *a, const char *b)
{
	char *text = xmalloc(strlen(a) + strlen(b) + 1);

	strcpy(text, a);
	return strcat(text, b);
}

/* Skips to the path. The absolute form (RFC 9112 3.2.2), which Apache passes on unchanged, has it
 * after the authority. */
static const char *without_authority(const char *uri)
{
	const char *colon = strstr(uri, "://");

	if (colon == NULL || !((colon == uri + 4 && strncasecmp(uri, "http", 4) == 0) ||
			       (colon == uri + 5 && strncasecmp(uri, "https", 5) == 0)))
		return uri;
	return colon + 3 + strcspn(colon + 3, "/?");
}

static void target_init(struct raw_target *t, const struct request_parameters *p)
{
	const char *method = get(p, "REQUEST_METHOD");

	t->is_read = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	t->raw = without_authority(get(p, "REQUEST_URI"));
	t->path_bytes = strcspn(t->raw, "?");
	t->query = t->raw + t->path_bytes;
	t->normal = join(get(p, "SCRIPT_NAME"), get(p, "PATH_INFO"));
	if (*t->normal ==
	    '\0') { /* a gateway without PATH_INFO and SCRIPT_NAME: check the raw path */
		free(t->normal);
		t->normal = strndup(t->raw, t->path_bytes);
		CHECK(t->normal != NULL);
	}
}

/* Finds "/mount/id" in the normalised path. Returns false if it is not below the mount, or has no
 * id. */
static bool find_id(const struct raw_target *t, const char *mount, struct request *r,
		    size_t *prefix_bytes)
{
	size_t mount_bytes = strlen(mount);

	if (strncmp(t->normal, mount, mount_bytes) != 0 || t->normal[mount_bytes] != '/')
		return false;
	const char *id = t->normal + mount_bytes + 1;
	size_t id_bytes = strcspn(id, "/");
	if (!id_connection_valid(id, id_bytes))
		return false;
	memcpy(r->id, id, id_bytes);
	*prefix_bytes = mount_bytes + 1 + id_bytes;
	return true;
}

static bool is_healthz(const struct raw_target *t, const char *mount)
{
	size_t mount_bytes = strlen(mount);

	return t->is_read && strncmp(t->normal, mount, mount_bytes) == 0 &&
	       strcmp(t->normal + mount_bytes, "/healthz") == 0;
}

static bool mount_is_valid(const char *mount)
{
	size_t bytes = strlen(mount);

	return bytes == 0 || (mount[0] == '/' && mount[bytes - 1] != '/' && bytes < 1024);
}

/* Finds the tunnel by the path, possibly below a mount. Sets *stripped, the bytes to remove from
 * the raw path. */
static void route_by_path(struct request *r, const struct raw_target *t, const char *mount,
			  size_t *stripped)
{
	size_t prefix_bytes;

	if (is_healthz(t, mount)) {
		r->kind = REQUEST_HEALTHZ;
		return;
	}
	if (!find_id(t, mount, r, &prefix_bytes)) {
		refuse(r, FAIL_NOT_FOUND);
		return;
	}
	bool same = t->path_bytes >= prefix_bytes && memcmp(t->raw, t->normal, prefix_bytes) == 0 &&
		    (t->path_bytes == prefix_bytes || t->raw[prefix_bytes] == '/');
	if (!same) {
		r->id[0] = '\0'; /* the caller did not write it; the log must not show it */
		refuse(r, FAIL_BAD_PATH);
		return;
	}
	free(r->prefix);
	r->prefix = strndup(t->raw, prefix_bytes);
	CHECK(r->prefix != NULL);
	*stripped = prefix_bytes;
	if (t->path_bytes == prefix_bytes) {
		char *slashed = join(r->prefix, "/");
		r->location = join(slashed, t->query);
		free(slashed);
		r->kind = REQUEST_REDIRECT;
	}
}

/* Finds the label before the suffix: "my-app" of "my-app.t.example.org:8080". */
static void route_by_host(struct request *r, const char *host, const char *suffix)
{
	size_t suffix_bytes = strlen(suffix);

	if (suffix_bytes < 2 || suffix[0] != '.')
		complain(r, "PIPEGATE_HOST_SUFFIX");
	if (!id_from_host(r->id, host, strlen(host), suffix, suffix_bytes))
		refuse(r, FAIL_NOT_FOUND);
}

static void route(struct request *r, const struct request_parameters *p, const struct raw_target *t,
		  size_t *stripped)
{
	const char *id = get(p, "PIPEGATE_CONNECTION_ID");
	const char *suffix = get(p, "PIPEGATE_HOST_SUFFIX");
	const char *mount = get(p, "PIPEGATE_MOUNT");

	*stripped = 0;
	r->kind = REQUEST_TUNNEL;
	if (t->raw[0] != '/') {
		refuse(r, FAIL_NOT_FOUND);
	} else if (*id != '\0') {
		if (id_connection_valid(id, strlen(id))) {
			strcpy(r->id, id);
		} else {
			complain(r, "PIPEGATE_CONNECTION_ID");
			refuse(r, FAIL_NOT_FOUND);
		}
	} else if (*suffix != '\0') {
		route_by_host(r, get(p, "HTTP_HOST"), suffix);
	} else if (strcmp(mount, "/") == 0) {
		route_by_path(r, t, "", stripped);
	} else if (mount_is_valid(mount)) {
		route_by_path(r, t, mount, stripped);
	} else {
		complain(r, "PIPEGATE_MOUNT");
		refuse(r, FAIL_NOT_FOUND);
	}
	if (*get(p, "PIPEGATE_CLIENTS_ONLY") != '\0' && r->kind != REQUEST_HEALTHZ)
		refuse(r, FAIL_NOT_FOUND);
	if (r->kind != REQUEST_TUNNEL && r->kind != REQUEST_REDIRECT)
		return;
	if (!http_path_is_plain(t->raw, t->path_bytes))
		refuse(r, FAIL_BAD_PATH);
	else if (!http_value_valid(t->raw, strlen(t->raw)) || strchr(t->raw, ' ') != NULL)
		refuse(r,
		       FAIL_BAD_REQUEST); /* a query must not end a line either, in Location too */
}

/* --- the head for the local app --- */

/* Converts HTTP_X_SOME_NAME to x-some-name. Returns false if it is no header, or its name is too
 * long. */
static bool header_name(const char *entry, size_t name_bytes, char out[NAME_MAX_BYTES])
{
	if (name_bytes <= 5 || strncmp(entry, "HTTP_", 5) != 0 || name_bytes - 5 >= NAME_MAX_BYTES)
		return false;
	for (size_t i = 5; i < name_bytes; i++) {
		char c = entry[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		out[i - 5] = c == '_' ? '-' : c;
	}
	out[name_bytes - 5] = '\0';
	return http_token_valid(out, name_bytes - 5);
}

/* lighttpd joins two Cookie lines correctly. Any other server is treated as Apache, which may hide
 * its name. */
static bool joins_cookies_by_comma(const struct request_parameters *p)
{
	return strncmp(get(p, "SERVER_SOFTWARE"), "lighttpd", 8) != 0;
}

static void add_headers(struct inbound *in, const struct request_parameters *p)
{
	const char *entry;

	for (size_t i = 0; (entry = p->entry(p->ctx, i)) != NULL; i++) {
		size_t name_bytes = strcspn(entry, "=");
		char name[NAME_MAX_BYTES];
		if (entry[name_bytes] != '=' || !header_name(entry, name_bytes, name))
			continue;
		const char *value = entry + name_bytes + 1;
		struct head_field f = {name, name_bytes - 5, value, strlen(value)};
		inbound_field(in, &f);
	}
}

static bool is_https(const struct request_parameters *p)
{
	const char *https = get(p, "HTTPS");
	const char *scheme = get(p, "PIPEGATE_SCHEME"); /* of a proxy in front */

	if (*scheme != '\0')
		return strcasecmp(scheme, "https") == 0;
	return strcasecmp(https, "on") == 0 || strcmp(https, "1") == 0 ||
	       strcasecmp(get(p, "REQUEST_SCHEME"), "https") == 0;
}

/* Returns true if the web server has checked a password (RFC 3875 4.1.1, 4.1.11). */
static bool password_is_checked(const struct request_parameters *p)
{
	const char *type = get(p, "AUTH_TYPE");

	return *get(p, "REMOTE_USER") != '\0' &&
	       (strcasecmp(type, "Basic") == 0 || strcasecmp(type, "Digest") == 0);
}

/* Reads the body's declared length. Returns false if it is not a number, or the body has a coding
 * that we do not undo. */
static bool read_length(struct request *r, const struct request_parameters *p)
{
	const char *text = get(p, "CONTENT_LENGTH");
	const char *coding = get(p, "PIPEGATE_TRANSFER_ENCODING"); /* as the caller sent it */

	if (*coding == '\0')
		coding = get(p, "HTTP_TRANSFER_ENCODING");
	long long length;

	if (*coding != '\0' && !http_is_chunked(coding, strlen(coding)))
		return false;
	/* RFC 3875 4.1.2: absent means no body; but Apache omits it for chunked bodies too. */
	if (*text == '\0') {
		r->has_length = *coding == '\0';
		return true;
	}
	if (!http_content_length(text, strlen(text), &length))
		return false;
	r->has_length = true;
	r->length_bytes = length;
	return true;
}

/* No body: whether the caller declared it is unknown, since lighttpd sets CONTENT_LENGTH=0 either
 * way. */
static bool declares_empty_body(const struct request_parameters *p, const char *method)
{
	return *get(p, "HTTP_CONTENT_LENGTH") != '\0' || strcmp(method, "POST") == 0 ||
	       strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static void add_content(struct head *h, const struct request_parameters *p)
{
	const char *type = get(p, "CONTENT_TYPE");

	if (*type != '\0' && http_value_valid(type, strlen(type)))
		head_add(h, "content-type", type);
	if (strcasecmp(get(p, "HTTP_EXPECT"), "100-continue") == 0)
		head_add(h, "expect", "100-continue");
}

static void build_head(struct request *r, const struct request_parameters *p,
		       const struct raw_target *t, size_t stripped)
{
	const struct inbound_public public = {
		.corr_hex = r->corr_hex,
		.address = get(p, "REMOTE_ADDR"),
		.host = get(p, "HTTP_HOST"),
		.prefix = r->prefix,
		.origin = r->origin,
		.https = is_https(p),
		.password_checked = password_is_checked(p),
		.joins_cookies_by_comma = joins_cookies_by_comma(p),
	};
	const char *method = get(p, "REQUEST_METHOD");
	const char *connection = get(p, "HTTP_CONNECTION");
	struct inbound in;
	char number[24];

	if (!http_token_valid(method, strlen(method)) || !read_length(r, p)) {
		refuse(r, FAIL_BAD_REQUEST);
		return;
	}
	head_add(&r->head, ":method", method);
	head_add(&r->head, ":target", t->raw + stripped);
	if (r->has_length && (r->length_bytes > 0 || declares_empty_body(p, method))) {
		snprintf(number, sizeof number, "%lld", (long long)r->length_bytes);
		head_add(&r->head, ":length", number);
	}
	inbound_init(&in, &public, &r->head);
	if (inbound_connection(&in, connection, strlen(connection))) {
		add_headers(&in, p);
		add_content(&r->head, p);
	} else {
		refuse(r, FAIL_BAD_REQUEST);
	}
	inbound_finish(&in);
}

void request_read(struct request *r, const struct request_parameters *p)
{
	struct raw_target t;
	size_t stripped;

	*r = (struct request){.prefix = xstrdup("")};
	id_random(r->corr, sizeof r->corr);
	id_to_hex(r->corr, sizeof r->corr, r->corr_hex);
	bool is_head = strcmp(get(p, "REQUEST_METHOD"), "HEAD") == 0;
	r->origin = inbound_origin(get(p, "HTTP_HOST"), is_https(p));

	target_init(&t, p);
	const char *method = get(p, "REQUEST_METHOD");
	r->log_line = access_log_request(method, strlen(method), t.raw, t.path_bytes);
	route(r, p, &t, &stripped);
	if (r->kind == REQUEST_TUNNEL)
		build_head(r, p, &t, stripped);
	r->to = (struct local_reply_to){"Status:", r->corr_hex, get(p, "HTTP_ACCEPT"), is_head};
	r->public = (struct public_name){r->prefix, r->origin, r->corr_hex, is_head, false};
	free(t.normal);
}

void request_fini(struct request *r)
{
	head_fini(&r->head);
	free(r->log_line);
	free(r->location);
	free(r->prefix);
	free(r->origin);
}
