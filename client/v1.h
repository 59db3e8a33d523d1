/* client/v1.h - The messages of protocol v1 (v1_message.c); session_v1 itself is in session.h. */
#ifndef PIPEGATE_CLIENT_V1_H
#define PIPEGATE_CLIENT_V1_H

#include "common/buf.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

/* One request message. Zero-initialise; end with v1_request_fini(). */
struct v1_request {
	char *correlation_id; /* NULL: there is nobody to answer */
	struct head head;     /* as in PROTOCOL.md, "Heads" */
	uint8_t *body;
	size_t body_bytes;
};

/* False: not a request; with a correlation id, one that has to be refused. Safe on any bytes.
 * Pure. */
bool v1_request_read(struct v1_request *r, const void *json, size_t bytes) MUST_CHECK;
void v1_request_fini(struct v1_request *r);

struct v1_response {
	const char *correlation_id;
	int status;
	const struct head *head;
	const void *body;
	size_t body_bytes;
};

/* Appends the message, without another copy of the body: that may be 12 MiB. */
void v1_response_write(struct buf *out, const struct v1_response *r);

/* A string member of a JSON object, malloc(3)ed; jansson has one file. NULL: it is not there.
 * `bytes` must be bounded. */
char *v1_json_text(const void *json, size_t bytes, const char *member);

const char *v1_library_version(void); /* of the JSON library */

#endif
