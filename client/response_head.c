/* client/response_head.c - see response_head.h. */
#include "client/response_head.h"

#include "common/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	KEEP_ALIVE_LEAST_S = 2, /* twice as long as conn_pool.c keeps a connection */
};

/* Returns true if `name` is one of the elements of this field's value. */
static bool has_element(const struct head_field *f, const char *name)
{
	struct head_field list = *f, element;

	while (http_list_next(&list, &element)) {
		if (field_is(&element, name))
			return true;
	}
	return false;
}

bool response_head_binds_connection(const struct head_field *f)
{
	static const char *const schemes[] = {"ntlm", "negotiate", "nego2", "kerberos", "credssp"};
	struct head_field list = *f, element;

	while (http_list_next(&list, &element)) {
		const char *blank = memchr(element.name, ' ', element.name_bytes);
		if (blank != NULL)
			element.name_bytes = (size_t)(blank - element.name);
		for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
			if (field_is(&element, schemes[i]))
				return true;
		}
	}
	return false;
}

/* Reads "Keep-Alive: timeout=5, max=100". Returns false if the app may close before the pool
 * does. */
static bool keep_alive_lasts(const struct head_field *f)
{
	struct head_field list = *f, element;

	while (http_list_next(&list, &element)) {
		long long number;
		const char *equals = memchr(element.name, '=', element.name_bytes);
		if (equals == NULL)
			continue;
		size_t name_bytes = (size_t)(equals - element.name);
		struct head_field name = {.name = element.name, .name_bytes = name_bytes};
		if (!http_length_parse(equals + 1, element.name_bytes - name_bytes - 1, &number))
			continue;
		if ((field_is(&name, "timeout") && number < KEEP_ALIVE_LEAST_S) ||
		    (field_is(&name, "max") && number == 0))
			return false;
	}
	return true;
}

/* Returns false if the field forbids another request on the connection. */
static bool field_keeps_open(const struct head_field *f)
{
	if (field_is(f, "connection") || field_is(f, "proxy-connection"))
		return !has_element(f, "close");
	if (field_is(f, "keep-alive"))
		return keep_alive_lasts(f);
	if (field_is(f, "www-authenticate") || field_is(f, "proxy-authenticate"))
		return !response_head_binds_connection(f);
	return !field_is(f, "persistent-auth");
}

/* The fields that determine the body's length. */
struct framing_fields {
	size_t codings;	 /* lines of Transfer-Encoding, ... */
	bool is_chunked; /* ... of which the only one is "chunked" */
	bool has_length, bad_length;
	long long length;
};

/* Equal numbers, in one line or in several, count as one (RFC 9110 8.6). */
static void read_length(struct framing_fields *ff, const struct head_field *f)
{
	long long length;

	if (!http_content_length(f->value, f->value_bytes, &length) ||
	    (ff->has_length && length != ff->length))
		ff->bad_length = true;
	else
		ff->length = length;
	ff->has_length = true;
}

static void read_coding(struct framing_fields *ff, const struct head_field *f)
{
	ff->is_chunked = ++ff->codings == 1 && http_is_chunked(f->value, f->value_bytes);
}

static void read_fields(struct response_head *h, const struct head *fields,
			struct framing_fields *ff)
{
	struct head_reader r;
	struct head_field f;

	*ff = (struct framing_fields){0};
	head_reader_init(&r, fields->data, fields->bytes);
	while (head_next(&r, &f) == 1) {
		if (field_is(&f, "content-length"))
			read_length(ff, &f);
		else if (field_is(&f, "transfer-encoding"))
			read_coding(ff, &f);
		h->keeps_open = h->keeps_open && field_keeps_open(&f);
	}
}

bool response_head_read(struct response_head *h, int status, const struct head *fields,
			bool is_to_head)
{
	struct framing_fields ff;

	*h = (struct response_head){.status = status, .keeps_open = true};
	read_fields(h, fields, &ff);
	if (ff.bad_length || (ff.codings > 0 && !ff.is_chunked))
		return false;
	if (is_to_head || status == 204 || status == 304) {
		h->framing = FRAMING_NONE;
		h->keeps_open = false; /* some apps send a body nevertheless */
	} else if (ff.is_chunked) {
		h->framing = FRAMING_CHUNKED;
		h->keeps_open = h->keeps_open && !ff.has_length;
	} else if (ff.has_length) {
		h->framing = FRAMING_LENGTH;
		h->body_bytes = (uint64_t)ff.length;
	} else {
		h->framing = FRAMING_UNTIL_END;
		h->keeps_open = false;
	}
	return true;
}

bool response_head_switches(const struct head *fields)
{
	bool websocket = false, connection = false;
	struct head_reader r;
	struct head_field f;

	head_reader_init(&r, fields->data, fields->bytes);
	while (head_next(&r, &f) == 1) {
		if (field_is(&f, "upgrade"))
			websocket = f.value_bytes == 9 && strncasecmp(f.value, "websocket", 9) == 0;
		connection =
			connection || (field_is(&f, "connection") && has_element(&f, "upgrade"));
	}
	return websocket && connection;
}

/* --- for the responder --- */

/* A second Content-Length repeats the first. With Transfer-Encoding, or in a 101, it has no
 * meaning. */
static bool length_passes(const struct response_head *h, bool is_first)
{
	return is_first && h->framing != FRAMING_CHUNKED && h->status != 101;
}

static void put_length(struct head *whole, const struct head_field *f)
{
	struct head_field list = *f, element;

	if (http_list_next(&list, &element))
		head_add_bytes(whole, f->name, f->name_bytes, element.name, element.name_bytes);
}

bool response_head_write(const struct response_head *h, const struct target *target,
			 const struct head *fields, struct head *out)
{
	struct http_connection connection = {0};
	struct head_reader reader;
	struct head_field f;
	char number[12];
	bool is_first_length = true;

	if (!http_connection_read(&connection, fields->data, fields->bytes))
		return false;
	snprintf(number, sizeof number, "%03d", h->status);
	head_add(out, ":status", number);
	if (target != NULL)
		head_add(out, ":origin", target->url);
	if (target != NULL && target->host_header == HOST_NAME)
		head_add(out, ":host", target->host_name);
	head_reader_init(&reader, fields->data, fields->bytes);
	while (head_next(&reader, &f) == 1) {
		if (http_hop_by_hop(&f) || http_connection_names(&connection, &f))
			continue;
		if (!field_is(&f, "content-length")) {
			head_add_bytes(out, f.name, f.name_bytes, f.value, f.value_bytes);
		} else if (length_passes(h, is_first_length)) {
			put_length(out, &f);
			is_first_length = false;
		}
	}
	return true;
}
