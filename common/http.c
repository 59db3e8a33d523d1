/* common/http.c - see http.h. */
#include "common/http.h"

#include <limits.h>
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
		if (field_is(f, names[i]))
			return true;
	}
	return false;
}

bool http_is_forwarding(const struct head_field *f)
{
	static const char *const names[] = {
		"x-forwarded-for",    "x-forwarded-proto",  "x-forwarded-host",
		"x-forwarded-prefix", "x-forwarded-server", "proxy",
		"http2-settings",
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (field_is(f, names[i]))
			return true;
	}
	return field_has_prefix(f, "x-pipegate-");
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

bool http_list_names(const struct head_field *list, const struct head_field *f)
{
	struct head_field rest = *list, element;

	while (http_list_next(&rest, &element)) {
		if (element.name_bytes == f->name_bytes &&
		    strncasecmp(element.name, f->name, f->name_bytes) == 0)
			return true;
	}
	return false;
}

/* Those without which a message is another one. */
static bool is_for_all(const struct head_field *f)
{
	return field_is(f, "host") || field_is(f, "set-cookie") || field_has_prefix(f, "content-");
}

void http_connection_read(struct http_connection *c, const void *head, size_t head_bytes)
{
	struct head_reader r;
	struct head_field f;

	*c = (struct http_connection){0};
	head_reader_init(&r, head, head_bytes);
	while (c->count < 8 && head_next(&r, &f) == 1) {
		if (!field_is(&f, "connection") || c->bytes + f.value_bytes > 1024)
			continue;
		c->lists[c->count++] = f;
		c->bytes += f.value_bytes;
	}
}

bool http_connection_names(const struct http_connection *c, const struct head_field *f)
{
	if (c->count == 0 || is_for_all(f))
		return false;
	for (size_t i = 0; i < c->count; i++) {
		if (http_list_names(&c->lists[i], f))
			return true;
	}
	return false;
}

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

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} phrases[] = {
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{203, "Non-Authoritative Information"},
		{204, "No Content"},
		{205, "Reset Content"},
		{206, "Partial Content"},
		{207, "Multi-Status"},
		{208, "Already Reported"},
		{226, "IM Used"},
		{300, "Multiple Choices"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{303, "See Other"},
		{304, "Not Modified"},
		{305, "Use Proxy"},
		{307, "Temporary Redirect"},
		{308, "Permanent Redirect"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{402, "Payment Required"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{406, "Not Acceptable"},
		{407, "Proxy Authentication Required"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{410, "Gone"},
		{411, "Length Required"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{416, "Range Not Satisfiable"},
		{417, "Expectation Failed"},
		{421, "Misdirected Request"},
		{422, "Unprocessable Content"},
		{423, "Locked"},
		{424, "Failed Dependency"},
		{425, "Too Early"},
		{426, "Upgrade Required"},
		{428, "Precondition Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{451, "Unavailable For Legal Reasons"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
		{506, "Variant Also Negotiates"},
		{507, "Insufficient Storage"},
		{508, "Loop Detected"},
		{511, "Network Authentication Required"},
	};

	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "Status";
}

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

/* The next character of a percent-encoded text, and how many bytes it took. */
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
		if (c == '/' || c == '\\' || c == '\0') { /* which ends a path for many a program */
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
