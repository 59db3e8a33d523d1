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
		"connection", "keep-alive",	    "proxy-connection",	  "te",
		"trailer",    "transfer-encoding",  "upgrade",		  "proxy-authenticate",
		"proxy-authorization", "proxy-authentication-info",
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (field_is(f, names[i]))
			return true;
	}
	return false;
}

/* Is `f` one of the comma-separated names in a Connection value? */
static bool list_names(const struct head_field *list, const struct head_field *f)
{
	const char *at = list->value;
	const char *end = at + list->value_bytes;

	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end;
		const char *last = stop;
		while (at < last && (*at == ' ' || *at == '\t'))
			at++;
		while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		if ((size_t)(last - at) == f->name_bytes &&
		    strncasecmp(at, f->name, f->name_bytes) == 0)
			return true;
		at = comma ? comma + 1 : end;
	}
	return false;
}

bool http_named_by_connection(const void *head, size_t head_bytes, const struct head_field *f)
{
	struct head_reader r;
	struct head_field other;

	head_reader_init(&r, head, head_bytes);
	while (head_next(&r, &other) == 1) {
		if (field_is(&other, "connection") && list_names(&other, f))
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
