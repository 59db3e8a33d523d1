/* broker/core/v1_request.h - Writes a request as the message of protocol v1 (common/PROTOCOL.md,
 * "Tunnel v1").
 *
 * The cost is linear in the head, and the number of query pairs has a limit, since each becomes
 * a few JSON values. The body is not written here: base64 of any part of it can be made when it
 * is sent. */
#ifndef PIPEGATE_V1_REQUEST_H
#define PIPEGATE_V1_REQUEST_H

#include "common/buf.h"
#include "common/fail.h"
#include "common/gate_msg.h"

/* What stands behind the base64 of the body. */
#define V1_REQUEST_TAIL "\"}"

/* Limit on key=value pairs in the query. A request with more is refused. */
#define V1_REQUEST_PAIRS_MAX 4096

struct v1_request {
	const uint8_t *corr; /* CORR_BYTES */
	const void *head;    /* common/head.h */
	size_t head_bytes;
	size_t body_bytes;
	bool has_length; /* `content-length` is written even for an empty body */
};

/* Appends the message up to its body. FAIL_BAD_REQUEST: no method, no target, or too many pairs.
 * FAIL_OVERLOADED: no memory. After a failure, *out may hold a part of the message. */
enum fail v1_request_write(const struct v1_request *r, struct buf *out) MUST_CHECK;

/* FAIL_UNSUPPORTED: protocol v1 has no such method, or cannot carry a WebSocket. Costs a look at
 * the head. */
enum fail v1_request_refusal(const void *head, size_t bytes);

#endif
