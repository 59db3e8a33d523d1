/* common/inbound.c - see inbound.h. */
#include "common/inbound.h"

#include "common/place.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

char *inbound_origin(const char *host, bool https)
{
	size_t bytes = strlen(host);

	if (!http_host_valid(host, bytes))
		return xstrdup("");
	char *origin = xmalloc(bytes + 9);
	snprintf(origin, bytes + 9, "%s://%s", https ? "https" : "http", host);
	return origin;
}

static void add_if(struct head *h, const char *name, const char *value)
{
	if (*value != '\0' && http_value_valid(value, strlen(value)))
		head_add(h, name, value);
}

void inbound_init(struct inbound *in, const struct inbound_public *public, struct head *head)
{
	*in = (struct inbound){.public = public, .head = head};
	in->map.from_prefix = public->prefix;
	in->map.to_origin = public->origin;
	in->map.to_prefix = "";
	if (!place_read(&in->map.from, public->origin, strlen(public->origin)))
		in->map.from = (struct place){0};
	add_if(head, "host", public->host);
}

bool inbound_connection(struct inbound *in, const char *value, size_t bytes)
{
	return http_connection_add(&in->connection, value, bytes);
}

/* Fields that we or the adapter write, or that concern only the caller and the web server. */
static bool is_ours(const struct head_field *f)
{
	return http_name_is(f, "host") || http_name_is(f, "content-length") ||
	       http_name_is(f, "content-type") || http_name_is(f, "expect") ||
	       http_is_forwarding(f) || http_hop_by_hop(f);
}

/* Returns whether a field is a password for the public site itself. A Bearer token is always for
 * the app. */
static bool is_password_of_site(const struct inbound *in, const struct head_field *f)
{
	return in->public->password_checked && field_is(f, "authorization") &&
	       ((f->value_bytes >= 5 && strncasecmp(f->value, "basic", 5) == 0) ||
		(f->value_bytes >= 6 && strncasecmp(f->value, "digest", 6) == 0));
}

/* Joins several Cookie lines into one (RFC 6265 5.4). */
static void add_cookie(struct inbound *in, const struct head_field *f)
{
	if (buf_bytes(&in->cookies) > 0 && f->value_bytes > 0)
		buf_append(&in->cookies, "; ", 2);
	buf_append(&in->cookies, f->value, f->value_bytes);
}

static void add_mapped(struct inbound *in, const struct head_field *f)
{
	struct buf value = {0};

	destination_write(&value, &in->map, f);
	head_add_bytes(in->head, f->name, f->name_bytes, buf_first(&value), buf_bytes(&value));
	buf_fini(&value);
}

void inbound_field(struct inbound *in, const struct head_field *f)
{
	if (is_ours(f) || is_password_of_site(in, f) || http_connection_names(&in->connection, f) ||
	    !http_token_valid(f->name, f->name_bytes) ||
	    !http_value_valid(f->value, f->value_bytes))
		return;
	if (field_is(f, "cookie"))
		add_cookie(in, f);
	else if (destination_is_in(f) && *in->public->prefix != '\0')
		add_mapped(in, f);
	else
		head_add_bytes(in->head, f->name, f->name_bytes, f->value, f->value_bytes);
}

static void finish_cookies(struct inbound *in)
{
	if (buf_bytes(&in->cookies) == 0)
		return;
	buf_append(&in->cookies, "", 1);
	const char *joined = (const char *)buf_first(&in->cookies);
	if (in->public->joins_cookies_by_comma) {
		char *repaired = http_cookie_repaired(joined);
		head_add(in->head, "cookie", repaired);
		free(repaired);
	} else {
		head_add(in->head, "cookie", joined);
	}
}

/* --- our own fields --- */

static void add_port(struct inbound *in)
{
	char number[24];
	long long port = in->map.from.port;

	if (port == 0)
		port = in->public->https ? 443 : 80;
	snprintf(number, sizeof number, "%lld", port);
	head_add(in->head, "x-forwarded-port", number);
}

/* Adds "for=192.0.2.1;host=example.org;proto=https" (RFC 7239 4). IPv6 addresses and hosts with a
 * port are quoted. */
static void add_forwarded(struct inbound *in)
{
	const struct inbound_public *p = in->public;
	char text[2048];
	unsigned char address[16];
	int used = 0;

	if (inet_pton(AF_INET, p->address, address) == 1)
		used = snprintf(text, sizeof text, "for=%s;", p->address);
	else if (inet_pton(AF_INET6, p->address, address) == 1)
		used = snprintf(text, sizeof text, "for=\"[%s]\";", p->address);
	else if (*p->address != '\0')
		used = snprintf(text, sizeof text, "for=unknown;");
	if (*p->origin != '\0' && strlen(p->host) < sizeof text / 2) {
		const char *quote = http_token_valid(p->host, strlen(p->host)) ? "" : "\"";
		used += snprintf(text + used, sizeof text - (size_t)used, "host=%s%s%s;", quote,
				 p->host, quote);
	}
	snprintf(text + used, sizeof text - (size_t)used, "proto=%s", p->https ? "https" : "http");
	head_add(in->head, "forwarded", text);
}

void inbound_finish(struct inbound *in)
{
	const struct inbound_public *p = in->public;

	if (p != NULL) {
		finish_cookies(in);
		head_add(in->head, "x-pipegate-correlation-id", p->corr_hex);
		add_if(in->head, "x-forwarded-for", p->address);
		head_add(in->head, "x-forwarded-proto", p->https ? "https" : "http");
		if (*p->origin != '\0')
			head_add(in->head, "x-forwarded-host", p->host);
		add_port(in);
		add_if(in->head, "x-forwarded-prefix", p->prefix);
		add_forwarded(in);
	}
	buf_fini(&in->cookies);
}
