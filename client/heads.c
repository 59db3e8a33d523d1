/* client/heads.c - see heads.h. */
#include "client/heads.h"

#include "common/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text of a pseudo field, fit for a request line. NULL: it is not. The caller frees it. */
static char *line_part(const void *head, size_t head_bytes, const char *name)
{
	struct head_field f;

	if (!head_find(head, head_bytes, name, &f) || f.value_bytes == 0 ||
	    !http_value_valid(f.value, f.value_bytes) ||
	    memchr(f.value, ' ', f.value_bytes) != NULL ||
	    memchr(f.value, '\t', f.value_bytes) != NULL)
		return NULL;
	return strndup(f.value, f.value_bytes);
}

bool request_line_read(struct request_line *l, const struct settings *s, const void *head,
		       size_t head_bytes)
{
	char *path = line_part(head, head_bytes, ":target");

	*l = (struct request_line){.method = line_part(head, head_bytes, ":method")};
	if (l->method != NULL && http_token_valid(l->method, strlen(l->method)) && path != NULL &&
	    *path == '/') {
		l->target = xmalloc(strlen(s->target.base) + strlen(path) + 1);
		strcpy(l->target, s->target.base);
		strcat(l->target, path);
	}
	free(path);
	if (l->target != NULL)
		return true;
	request_line_fini(l);
	return false;
}

void request_line_fini(struct request_line *l)
{
	free(l->method);
	free(l->target);
	*l = (struct request_line){0};
}

bool request_is_upgrade(const void *head, size_t head_bytes)
{
	struct head_field f;

	return head_find(head, head_bytes, ":upgrade", &f);
}

/* --- fields --- */

void request_fields_init(struct request_fields *r, const struct settings *s, const void *head,
			 size_t head_bytes)
{
	*r = (struct request_fields){.settings = s};
	(void)head_find(head, head_bytes, "host", &r->host);
	head_reader_init(&r->reader, head, head_bytes);
}

static bool give_host(const struct request_fields *r, struct head_field *out)
{
	const struct settings *s = r->settings;
	const char *name = s->host_header == HOST_NAME ? s->host_name : s->target.authority;

	*out = (struct head_field){"Host", 4, name, strlen(name)};
	if (s->host_header == HOST_KEEP && r->host.value_bytes > 0) {
		out->value = r->host.value;
		out->value_bytes = r->host.value_bytes;
	}
	return http_value_valid(out->value, out->value_bytes);
}

/* What stands elsewhere, or is between two machines only. */
static bool is_ours_to_write(const struct head_field *f)
{
	return f->name[0] == ':' || field_is(f, "host") || field_is(f, "content-length") ||
	       http_hop_by_hop(f);
}

int request_fields_next(struct request_fields *r, struct head_field *out)
{
	int more;

	if (!r->host_given) {
		r->host_given = true;
		return give_host(r, out) ? 1 : -1;
	}
	do {
		more = head_next(&r->reader, out);
	} while (more == 1 && is_ours_to_write(out));
	if (more != 1)
		return more;
	if (!http_token_valid(out->name, out->name_bytes) ||
	    !http_value_valid(out->value, out->value_bytes))
		return -1;
	while (out->value_bytes > 0 && (*out->value == ' ' || *out->value == '\t')) {
		out->value++;
		out->value_bytes--;
	}
	return 1;
}

/* --- answers --- */

bool answer_field_add(struct head *fields, const char *name, size_t name_bytes, const char *value,
		      size_t value_bytes)
{
	const char *end = value + value_bytes;

	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	value_bytes = (size_t)(end - value);
	if (!http_token_valid(name, name_bytes) || !http_value_valid(value, value_bytes) ||
	    fields->bytes + name_bytes + value_bytes > HEAD_MAX_BYTES)
		return false;
	head_add_bytes(fields, name, name_bytes, value, value_bytes);
	return true;
}

void answer_head_make(struct head *out, const struct settings *s, int status,
		      const struct head *fields)
{
	struct head_reader reader;
	struct head_field f;
	char number[12];
	bool framed = head_find(fields->data, fields->bytes, "transfer-encoding", &f);

	snprintf(number, sizeof number, "%03d", status);
	head_add(out, ":status", number);
	head_add(out, ":origin", s->target.origin);
	head_reader_init(&reader, fields->data, fields->bytes);
	while (head_next(&reader, &f) == 1) {
		if (!http_hop_by_hop(&f) && !(framed && field_is(&f, "content-length")))
			head_add_bytes(out, f.name, f.name_bytes, f.value, f.value_bytes);
	}
}
