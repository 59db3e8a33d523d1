/* broker/core/v1_scan.h - Reads the raw text of a v1 response before, or without, a JSON parser.
 *
 * Owns the limits on nesting and values, the search for the body, and its base64. Safe on any
 * bytes; the cost is linear. */
#ifndef PIPEGATE_V1_SCAN_H
#define PIPEGATE_V1_SCAN_H

#include "common/buf.h"
#include "common/gate_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The inside of a string: from the byte behind its first quote to its last quote. */
struct v1_span {
	size_t start, end;
};

/* What a JSON text consists of, whether it is valid or not. */
struct v1_outline {
	size_t deepest, values;
	size_t bodies; /* members "body" of the outermost object */
	bool has_body, has_corr;
	struct v1_span body; /* the last one of them that is a string */
	struct v1_span corr; /* the last "correlation_id" */
};

void v1_outline(const uint8_t *text, size_t bytes, struct v1_outline *o);

/* False: nesting of more than 16, or more than 4096 values. A JSON parser must not read the
 * text. */
bool v1_is_simple(const struct v1_outline *o);

/* True if the span holds complete base64 and nothing else. Sets *padding to the number of '='. */
bool v1_is_base64(const uint8_t *text, struct v1_span s, size_t *padding);

/* Replaces the message by the decoded span, in the same memory; message->start must be 0. */
bool v1_decode_body(struct buf *message, struct v1_span s, size_t padding) MUST_CHECK;

/* Accepts any spelling of a UUID: dashes, braces and "urn:uuid:" do not count (RFC 4122 3). */
bool v1_uuid_parse(const char *text, size_t bytes, uint8_t out[CORR_BYTES]) MUST_CHECK;

#endif
