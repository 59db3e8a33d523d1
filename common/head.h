/* common/head.h - A message head as PipeGate's programs send it to each other: an ordered list of
 * fields, duplicates kept, bytes unchanged (PROTOCOL.md, "Heads").
 *
 * Wire form, per field: name length (2 bytes), value length (4 bytes), both big-endian; name;
 * value. Fields whose name begins with ':' come first and are not headers (":method", ":target",
 * ":status", ...). The responder writes a request head once and the client reads it; the client
 * writes a response head once and the responder reads it. For v2 the broker does not parse
 * either. */
#ifndef PIPEGATE_HEAD_H
#define PIPEGATE_HEAD_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Contract section 3: a larger response head is a bad response. */
#define HEAD_MAX_BYTES (64 * 1024)

/* A head under construction. Zero-initialise; end with head_fini(). */
struct head {
	uint8_t *data;
	size_t bytes;
	size_t capacity_bytes;
};

void head_add(struct head *h, const char *name, const char *value);
void head_add_bytes(struct head *h, const char *name, size_t name_bytes, const void *value,
		    size_t value_bytes);
void head_append(struct head *h, const struct head *other); /* all its fields */
void head_clear(struct head *h);			    /* empties it and keeps the memory */
void head_fini(struct head *h);

/* One field. Points into the head it was read from; neither part ends in NUL. */
struct head_field {
	const char *name;
	size_t name_bytes;
	const char *value;
	size_t value_bytes;
};

struct head_reader {
	const uint8_t *at;
	size_t left_bytes;
};

void head_reader_init(struct head_reader *r, const void *data, size_t bytes);

/* 1: *out is the next field. 0: the end. -1: malformed from here on. Safe on any bytes. */
int head_next(struct head_reader *r, struct head_field *out) MUST_CHECK;

bool head_valid(const void *data, size_t bytes); /* head_next() reaches the end */

/* Finds the first field of that name (ASCII case ignored). False: none, or the head is malformed
 * before it. */
bool head_find(const void *data, size_t bytes, const char *name, struct head_field *out);

/* Compares a field's name, ignoring ASCII case. */
bool field_is(const struct head_field *f, const char *name);

#endif
