/* common/http.c - see http.h. */
#include "common/http.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool http_token_valid(const char *text, size_t bytes)
{
	if (bytes == 0)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if (!token_char((unsigned char)text[i]))
			return false;
	}
	return true;
}

bool http_value_valid(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

bool http_host_valid(const char *text, size_t bytes)
{
	size_t host = 0, port;

	if (bytes > 0 && text[0] == '[') {
		while (host < bytes && text[host] != ']')
			host++;
		for (size_t i = 1; i < host; i++) {
			if (memchr("0123456789abcdefABCDEF:.", text[i], 24) == NULL)
				return false;
		}
		if (host++ == bytes || host < 4)
			return false;
	}
	for (; host < bytes && text[host] != ':'; host++) {
		unsigned char c = (unsigned char)text[host];
		if (text[0] == '[' || (!token_char(c) && memchr("(),;=", c, 5) == NULL) ||
		    memchr("#^`|", c, 4) != NULL)
			return false;
	}
	for (port = host + (host < bytes); port < bytes; port++) {
		if (text[port] < '0' || text[port] > '9' || port - host > 5)
			return false;
	}
	return host > 0;
}

/* --- names --- */

static char folded(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + 32);
	return c == '_' ? '-' : c;
}

static int compare_folded(const char *a, const char *b, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		char x = folded(a[i]), y = folded(b[i]);
		if (x != y)
			return (unsigned char)x < (unsigned char)y ? -1 : 1;
	}
	return 0;
}

bool http_name_is(const struct head_field *f, const char *name)
{
	return f->name_bytes == strlen(name) && compare_folded(f->name, name, f->name_bytes) == 0;
}

bool http_name_begins(const struct head_field *f, const char *prefix)
{
	size_t bytes = strlen(prefix);

	return f->name_bytes >= bytes && compare_folded(f->name, prefix, bytes) == 0;
}

/* Returns whether the name is `suffix`, or ends in '-' and `suffix`. */
static bool name_ends(const struct head_field *f, const char *suffix)
{
	size_t bytes = strlen(suffix), before = f->name_bytes - bytes;

	return f->name_bytes >= bytes && compare_folded(f->name + before, suffix, bytes) == 0 &&
	       (before == 0 || folded(f->name[before - 1]) == '-');
}

bool http_hop_by_hop(const struct head_field *f)
{
	static const char *const names[] = {
		"connection",
		"keep-alive",
		"proxy-connection",
		"te",
		"trailer",
		"transfer-encoding",
		"upgrade",
		"proxy-authenticate",
		"proxy-authorization",
		"proxy-authentication-info",
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (http_name_is(f, names[i]))
			return true;
	}
	return false;
}

/* Fields from which apps, frameworks and servers learn the caller's address, the scheme, the host,
 * the path and the mount, as documented by the products that write or read them. Sorted. */
static const char *const forwarding_names[] = {
	"appengine-user-ip",
	"cf-connecting-ipv6",
	"cf-pseudo-ipv4",
	"cf-visitor",
	"forwarded",
	"front-end-https",
	"http2-settings",
	"https",
	"path-info",
	"proxy",
	"remote-host",
	"remote-port",
	"request-scheme",
	"request-uri",
	"script-name",
	"server-addr",
	"server-name",
	"server-port",
	"wl-proxy-ssl",
	"x-appengine-user-ip",
	"x-arr-ssl",
	"x-azure-socketip",
	"x-backend-host",
	"x-base-url",
	"x-client-port",
	"x-forward-for",
	"x-forward-host",
	"x-forward-port",
	"x-forward-proto",
	"x-forwarded",
	"x-forwarder-for",
	"x-host",
	"x-http-destinationurl",
	"x-http-host-override",
	"x-https",
	"x-nf-client-connection-ip",
	"x-original-for",
	"x-original-host",
	"x-original-ip",
	"x-original-method",
	"x-original-path",
	"x-original-port",
	"x-original-prefix",
	"x-original-proto",
	"x-original-query",
	"x-original-query-string",
	"x-original-scheme",
	"x-original-uri",
	"x-original-url",
	"x-originating-ip",
	"x-proto",
	"x-proxy-host",
	"x-proxy-proto",
	"x-proxyuser-ip",
	"x-real-host",
	"x-real-port",
	"x-real-proto",
	"x-remote-host",
	"x-remote-ip",
	"x-remote-port",
	"x-request-uri",
	"x-rewrite-url",
	"x-scheme",
	"x-script-name",
	"x-server-name",
	"x-server-port",
	"x-ssl",
	"x-tls",
	"x-url-scheme",
	"x-waws-unencoded-url",
};

static int compare_name(const void *key, const void *entry)
{
	const struct head_field *f = key;
	const char *name = *(const char *const *)entry;
	size_t bytes = strlen(name);
	int order = compare_folded(f->name, name, f->name_bytes < bytes ? f->name_bytes : bytes);

	return order != 0 ? order : (f->name_bytes > bytes) - (f->name_bytes < bytes);
}

bool http_is_forwarding(const struct head_field *f)
{
	static const char *const prefixes[] = {"x-forwarded-", "forwarded-", "x-envoy-",
					       "x-pipegate-"};
	/* Each CDN has its own name for the caller's address; these are the endings. */
	static const char *const suffixes[] = {"client-ip",	"clientip",	  "connecting-ip",
					       "forwarded-for", "forwarded-host", "forwarded-proto",
					       "real-ip",	"remote-addr"};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		if (http_name_begins(f, prefixes[i]))
			return true;
	}
	for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
		if (name_ends(f, suffixes[i]))
			return true;
	}
	return bsearch(f, forwarding_names, sizeof forwarding_names / sizeof forwarding_names[0],
		       sizeof forwarding_names[0], compare_name) != NULL;
}

char *http_cookie_repaired(const char *value)
{
	char *fixed = xmalloc(strlen(value) + 1);
	size_t used = 0;

	for (const char *at = value; *at;) {
		size_t name = 0;
		if (at[0] == ',' && at[1] == ' ') {
			while (at[2 + name] != '\0' && http_token_valid(at + 2 + name, 1))
				name++;
		}
		fixed[used++] = name > 0 && at[2 + name] == '=' ? ';' : *at;
		at++;
	}
	fixed[used] = '\0';
	return fixed;
}

bool http_list_next(struct head_field *list, struct head_field *element)
{
	const char *at = list->value;
	const char *end = at + list->value_bytes;

	if (at == end)
		return false;
	const char *comma = memchr(at, ',', list->value_bytes);
	const char *last = comma ? comma : end;
	list->value = comma ? comma + 1 : end;
	list->value_bytes = (size_t)(end - list->value);
	while (at < last && (*at == ' ' || *at == '\t'))
		at++;
	while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
		last--;
	*element = (struct head_field){.name = at, .name_bytes = (size_t)(last - at)};
	return true;
}

/* --- Connection --- */

/* Fields that Connection must not remove: they define the message. */
static bool is_end_to_end(const struct head_field *f)
{
	return http_name_is(f, "host") || http_name_is(f, "set-cookie") ||
	       http_name_begins(f, "content-");
}

/* Compares lengths first, which distinguishes most names. */
static int compare_fields(const struct head_field *a, const struct head_field *b)
{
	if (a->name_bytes != b->name_bytes)
		return a->name_bytes < b->name_bytes ? -1 : 1;
	return compare_folded(a->name, b->name, a->name_bytes);
}

/* Returns the index of `f`, or where to insert it; *found says which. */
static size_t find_name(const struct http_connection *c, const struct head_field *f, bool *found)
{
	size_t low = 0, high = c->count;

	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = compare_fields(&c->names[middle], f);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool http_connection_add(struct http_connection *c, const char *value, size_t bytes)
{
	struct head_field list = {"connection", 10, value, bytes}, name;
	bool found;

	while (http_list_next(&list, &name)) {
		if (name.name_bytes == 0)
			continue;
		size_t at = find_name(c, &name, &found);
		if (found)
			continue;
		if (c->count == HTTP_CONNECTION_NAMES_MAX)
			return false;
		memmove(c->names + at + 1, c->names + at, (c->count - at) * sizeof name);
		c->names[at] = name;
		c->count++;
	}
	return true;
}

bool http_connection_read(struct http_connection *c, const void *head, size_t head_bytes)
{
	struct head_reader r;
	struct head_field f;

	*c = (struct http_connection){0};
	head_reader_init(&r, head, head_bytes);
	while (head_next(&r, &f) == 1) {
		if (field_is(&f, "connection") && !http_connection_add(c, f.value, f.value_bytes))
			return false;
	}
	return true;
}

bool http_connection_names(const struct http_connection *c, const struct head_field *f)
{
	bool found = false;

	if (c->count > 0 && !is_end_to_end(f))
		(void)find_name(c, f, &found);
	return found;
}

/* --- lengths and codings --- */

bool http_length_parse(const char *text, size_t bytes, long long *out)
{
	long long value = 0;

	if (bytes == 0)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		int digit = text[i] - '0';
		if (value > (LLONG_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool http_content_length(const char *text, size_t bytes, long long *out)
{
	struct head_field list = {"content-length", 14, text, bytes}, element;
	long long length;
	bool any = false;

	while (http_list_next(&list, &element)) {
		if (!http_length_parse(element.name, element.name_bytes, &length) ||
		    (any && length != *out))
			return false;
		*out = length;
		any = true;
	}
	return any && text[bytes - 1] != ',';
}

bool http_method_of_v1(const char *method, size_t bytes)
{
	static const char *const methods[] = {"GET",   "POST",	  "PUT", "DELETE",
					      "PATCH", "OPTIONS", "HEAD"};

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (bytes == strlen(methods[i]) && memcmp(method, methods[i], bytes) == 0)
			return true;
	}
	return false;
}

bool http_is_chunked(const char *text, size_t bytes)
{
	struct head_field list = {"transfer-encoding", 17, text, bytes}, element;

	return http_list_next(&list, &element) && list.value_bytes == 0 &&
	       element.name_bytes == 7 && strncasecmp(element.name, "chunked", 7) == 0;
}

/* --- paths --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Returns the next character of a percent-encoded text; *used is its length there. */
static unsigned char decoded(const char *at, size_t left, size_t *used)
{
	if (*at == '%' && left >= 3 && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
		*used = 3;
		return (unsigned char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
	}
	*used = 1;
	return (unsigned char)*at;
}

bool http_path_is_plain(const char *path, size_t bytes)
{
	size_t dots = 0, length = 0; /* of the segment so far */
	size_t used;

	for (size_t i = 0; i < bytes; i += used) {
		unsigned char c = decoded(path + i, bytes - i, &used);
		if (used == 1 && (c < 0x20 || c == 0x7f))
			return false;
		if (c == '/' || c == '\\' || c == '\0') { /* NUL ends a path in C programs */
			if (dots == 2 && length == 2)
				return false;
			dots = length = 0;
			continue;
		}
		dots += c == '.';
		length++;
	}
	return !(dots == 2 && length == 2);
}
