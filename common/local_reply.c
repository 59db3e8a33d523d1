/* common/local_reply.c - see local_reply.h. */
#include "common/local_reply.h"

#include "common/http_reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Returns the q-value of one element of Accept (";q=0.5" among its parameters); 1 if it has
 * none. */
static double quality(const char *element, size_t bytes)
{
	char text[128];

	if (bytes >= sizeof text)
		return 0;
	memcpy(text, element, bytes);
	text[bytes] = '\0';
	for (char *at = strchr(text, ';'); at != NULL; at = strchr(at, ';')) {
		at++;
		at += strspn(at, " \t");
		if (strncasecmp(at, "q=", 2) == 0)
			return strtod(at + 2, NULL);
	}
	return 1;
}

/* Returns the q-value of a media type: that of the most specific element that matches it. */
static double wanted(const char *accept, const char *type, const char *range)
{
	const char *const forms[] = {type, range, "*/*"};
	double result = 0;
	size_t best = 3;

	while (*accept != '\0') {
		accept += strspn(accept, " \t,");
		size_t bytes = strcspn(accept, ",");
		size_t name = strcspn(accept, ";, \t");
		for (size_t i = 0; i < best; i++) {
			if (name == strlen(forms[i]) && strncasecmp(accept, forms[i], name) == 0) {
				best = i;
				result = quality(accept, bytes);
			}
		}
		accept += bytes;
	}
	return result;
}

bool local_reply_prefers_html(const char *accept)
{
	double html = wanted(accept, "text/html", "text/*");

	return html > 0 && html > wanted(accept, "application/json", "application/*");
}

static void put(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

static void put_response(struct buf *out, const struct local_reply_to *to, int status,
			 const char *headers, const char *type, const char *body)
{
	char line[256];

	snprintf(line, sizeof line,
		 "%s %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		 "Cache-Control: no-store\r\nx-pipegate-correlation-id: %s\r\n",
		 to->status_line, status, http_reason(status), type, strlen(body), to->corr_hex);
	put(out, line);
	put(out, headers);
	if (strcmp(to->status_line, "Status:") != 0)
		put(out, "Connection: close\r\n");
	put(out, "\r\n");
	if (!to->is_head)
		put(out, body);
}

static void put_fail(struct buf *out, const struct local_reply_to *to, enum fail f, int status,
		     bool maybe_delivered, const char *more, const char *detail)
{
	char headers[256], body[1024];
	bool html = local_reply_prefers_html(to->accept);

	snprintf(headers, sizeof headers,
		 "x-pipegate-error: %s; delivered=%s\r\nVary: Accept\r\n%s", fail_code(f),
		 maybe_delivered ? "maybe" : "no", more);
	if (html)
		snprintf(body, sizeof body,
			 "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
			 "<title>%d %s</title></head>\n<body><h1>%d %s</h1>\n<p>%s</p>\n"
			 "<p><small>%s, %s</small></p></body></html>\n",
			 status, http_reason(status), status, http_reason(status), detail,
			 fail_code(f), to->corr_hex);
	else
		snprintf(body, sizeof body, "{\"detail\":\"%s\"}", detail);
	put_response(out, to, status, headers,
		     html ? "text/html; charset=utf-8" : "application/json", body);
}

void local_reply_fail(struct buf *out, const struct local_reply_to *to, enum fail f, bool accepted,
		      bool maybe_delivered)
{
	put_fail(out, to, f, fail_status(f, accepted), maybe_delivered,
		 fail_wants_retry_after(f) ? "Retry-After: 1\r\n" : "", fail_detail(f));
}

void local_reply_bad_request(struct buf *out, const struct local_reply_to *to, int status,
			     const char *headers)
{
	put_fail(out, to, FAIL_BAD_REQUEST, status, false, headers, fail_detail(FAIL_BAD_REQUEST));
}

void local_reply_refuse(struct buf *out, const struct local_reply_to *to, int status,
			const char *detail)
{
	put_fail(out, to, FAIL_BAD_REQUEST, status, false, "", detail);
}

void local_reply_redirect(struct buf *out, const struct local_reply_to *to, const char *location)
{
	struct buf headers = {0};

	put(&headers, "Location: ");
	put(&headers, location);
	put(&headers, "\r\n");
	buf_append(&headers, "", 1);
	put_response(out, to, 308, (const char *)buf_first(&headers), "application/json",
		     "{\"detail\":\"Permanent Redirect\"}");
	buf_fini(&headers);
}

void local_reply_health(struct buf *out, const struct local_reply_to *to, bool ok)
{
	put_response(
		out, to, ok ? 200 : 503,
		ok ? ""
		   : "x-pipegate-error: broker-unavailable; delivered=no\r\nRetry-After: 1\r\n",
		"application/json", ok ? "{\"status\":\"ok\"}" : "{\"status\":\"unavailable\"}");
}
