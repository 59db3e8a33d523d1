/* client/response_guard.h - What http_parser would accept in the lines of a response although RFC
 * 9112 does not. The lines go through here first. Pure. */
#ifndef PIPEGATE_RESPONSE_GUARD_H
#define PIPEGATE_RESPONSE_GUARD_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

/* What the next bytes are. PLAIN and DATA are no lines. */
enum response_part { PART_HEAD, PART_PLAIN, PART_SIZE, PART_DATA, PART_DATA_END, PART_TRAILERS };

/* Zero-initialise. `part`, `has_status`, `is_sloppy` and `line_bytes` may be read. */
struct response_guard {
	enum response_part part;
	size_t line_bytes; /* of the line that is incomplete; of all TRAILERS */
	char last;	   /* byte of the input; LF before the first one of a part */
	bool in_extension; /* SIZE */
	bool has_status;   /* HEAD: its status line is complete */
	bool is_sloppy;	   /* readable, but not as RFC 9112 writes it */
	size_t empty_lines;
};

void response_guard_start_head(struct response_guard *g);
void response_guard_enter(struct response_guard *g, enum response_part part);

/* Reads a line, or a part of one. False: it must not reach http_parser. */
bool response_guard_passes(struct response_guard *g, const char *data, size_t bytes) MUST_CHECK;

/* Is this the first byte of a field's line? */
bool response_guard_begins_field(const struct response_guard *g, char c);

#endif
