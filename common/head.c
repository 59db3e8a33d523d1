/* common/head.c - see head.h. */
#include "common/head.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELD_PREFIX_BYTES = 6 };

static uint8_t *grow(struct head *h, size_t more_bytes)
{
	size_t need_bytes = h->bytes + more_bytes;

	if (need_bytes > h->capacity_bytes) {
		size_t capacity = h->capacity_bytes ? h->capacity_bytes : 1024;
		while (capacity < need_bytes)
			capacity *= 2;
		h->data = xrealloc(h->data, capacity);
		h->capacity_bytes = capacity;
	}
	uint8_t *at = h->data + h->bytes;
	h->bytes = need_bytes;
	return at;
}

void head_add_bytes(struct head *h, const char *name, size_t name_bytes, const void *value,
		    size_t value_bytes)
{
	CHECK(name_bytes <= UINT16_MAX && value_bytes <= UINT32_MAX);
	uint8_t *at = grow(h, FIELD_PREFIX_BYTES + name_bytes + value_bytes);

	put_be16(at, (uint16_t)name_bytes);
	put_be32(at + 2, (uint32_t)value_bytes);
	memcpy(at + FIELD_PREFIX_BYTES, name, name_bytes);
	if (value_bytes)
		memcpy(at + FIELD_PREFIX_BYTES + name_bytes, value, value_bytes);
}

void head_add(struct head *h, const char *name, const char *value)
{
	head_add_bytes(h, name, strlen(name), value, strlen(value));
}

void head_append(struct head *h, const struct head *other)
{
	if (other->bytes > 0)
		memcpy(grow(h, other->bytes), other->data, other->bytes);
}

void head_clear(struct head *h)
{
	h->bytes = 0;
}

void head_fini(struct head *h)
{
	free(h->data);
	*h = (struct head){0};
}

void head_reader_init(struct head_reader *r, const void *data, size_t bytes)
{
	r->at = data;
	r->left_bytes = bytes;
}

int head_next(struct head_reader *r, struct head_field *out)
{
	if (r->left_bytes == 0)
		return 0;
	if (r->left_bytes < FIELD_PREFIX_BYTES)
		return -1;
	size_t name_bytes = get_be16(r->at);
	size_t value_bytes = get_be32(r->at + 2);
	size_t room = r->left_bytes - FIELD_PREFIX_BYTES;
	if (name_bytes == 0 || name_bytes > room || value_bytes > room - name_bytes)
		return -1;

	out->name = (const char *)r->at + FIELD_PREFIX_BYTES;
	out->name_bytes = name_bytes;
	out->value = out->name + name_bytes;
	out->value_bytes = value_bytes;
	r->at += FIELD_PREFIX_BYTES + name_bytes + value_bytes;
	r->left_bytes = room - name_bytes - value_bytes;
	return 1;
}

bool head_valid(const void *data, size_t bytes)
{
	struct head_reader r;
	struct head_field f;
	int more;

	head_reader_init(&r, data, bytes);
	while ((more = head_next(&r, &f)) == 1)
		;
	return more == 0;
}

bool head_find(const void *data, size_t bytes, const char *name, struct head_field *out)
{
	struct head_reader r;

	head_reader_init(&r, data, bytes);
	while (head_next(&r, out) == 1) {
		if (field_is(out, name))
			return true;
	}
	return false;
}

bool field_is(const struct head_field *f, const char *name)
{
	return f->name_bytes == strlen(name) && strncasecmp(f->name, name, f->name_bytes) == 0;
}
