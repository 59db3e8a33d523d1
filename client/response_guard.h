/* client/response_guard.h - Refuses lines of a response that http_parser accepts but RFC 9112 does
 * not. Each line is checked here before http_parser reads it. Pure. */
#ifndef PIPEGATE_RESPONSE_GUARD_H
#define PIPEGATE_RESPONSE_GUARD_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

/* What the next bytes are. PART_PLAIN and PART_DATA are not lines. */
enum response_part { PART_HEAD, PART_PLAIN, PART_SIZE, PART_DATA, PART_DATA_END, PART_TRAILERS };

/* Zero-initialise. Callers may read `part`, `has_status`, `is_sloppy` and `line_bytes`. */
struct response_guard {
	enum response_part part;
	size_t line_bytes; /* of the incomplete line; in PART_TRAILERS, of all of them */
	/* last byte of the input; LF before the first byte of a part */
	char last;
	bool in_extension; /* PART_SIZE */
	bool has_status;   /* PART_HEAD: the status line is complete */
	bool is_sloppy;	   /* readable, but not as RFC 9112 writes it */
	size_t empty_lines;
};

void response_guard_start_head(struct response_guard *g);
void response_guard_enter(struct response_guard *g, enum response_part part);

/* Checks a line or a part of one. Returns false if http_parser must not read it. */
bool response_guard_passes(struct response_guard *g, const char *data, size_t bytes) MUST_CHECK;

/* Returns true if c is the first byte of a field line. */
bool response_guard_begins_field(const struct response_guard *g, char c);

#endif
