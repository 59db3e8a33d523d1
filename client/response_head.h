/* client/response_head.h - Interprets the head of an app's response: where its body ends (RFC 9112
 * 6.3), whether its connection may carry another request, and which fields the responder receives.
 * Pure. */
#ifndef PIPEGATE_RESPONSE_HEAD_H
#define PIPEGATE_RESPONSE_HEAD_H

#include "client/settings.h"
#include "common/check.h"
#include "common/head.h"

#include <stdbool.h>
#include <stdint.h>

enum response_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_UNTIL_END };

struct response_head {
	int status; /* 0: none yet */
	enum response_framing framing;
	uint64_t body_bytes; /* FRAMING_LENGTH */
	bool keeps_open;     /* no field forbids another request on the connection */
};

/* Reads the fields of a final head. `is_to_head`: the request was HEAD. Returns false if the end of
 * the body is ambiguous or unknown. */
bool response_head_read(struct response_head *h, int status, const struct head *fields,
			bool is_to_head) MUST_CHECK;

/* Returns true if a 101 with these fields switches to a WebSocket. */
bool response_head_switches(const struct head *fields);

/* Appends the head for the responder to `out`: ":status" and ":origin", then all end-to-end fields.
 * `target` NULL: the response does not come from an app. Returns false if Connection names too many
 * fields. */
bool response_head_write(const struct response_head *h, const struct target *target,
			 const struct head *fields, struct head *out) MUST_CHECK;

/* Returns true if this value of WWW-Authenticate or Authorization names a scheme that authenticates
 * the connection, not the request. */
bool response_head_binds_connection(const struct head_field *f);

#endif
