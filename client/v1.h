/* client/v1.h - The messages of protocol v1 (v1_message.c); session_v1 itself is in session.h. */
#ifndef PIPEGATE_CLIENT_V1_H
#define PIPEGATE_CLIENT_V1_H

#include "common/buf.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

/* One request message. Zero-initialise; end with v1_request_fini(). */
struct v1_request {
	char *correlation_id; /* NULL: no response is possible */
	struct head head;     /* see PROTOCOL.md, "Heads" */
	uint8_t *body;
	size_t body_bytes;
};

/* Returns false if it is not a valid request; if it has a correlation id, an error response is due.
 * Safe on any bytes. Pure. */
bool v1_request_read(struct v1_request *r, const void *json, size_t bytes) MUST_CHECK;
void v1_request_fini(struct v1_request *r);

struct v1_response {
	const char *correlation_id;
	int status;
	const struct head *head;
	const void *body;
	size_t body_bytes;
};

/* Appends the message. It does not copy the body another time: that may have 12 MiB. */
void v1_response_write(struct buf *out, const struct v1_response *r);

/* Returns a string member of a JSON object, malloc(3)ed; here because one file includes jansson.
 * NULL: there is none. The caller must bound `bytes`. */
char *v1_json_text(const void *json, size_t bytes, const char *member);

const char *v1_library_version(void); /* of the JSON library */

#endif
