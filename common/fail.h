/* common/fail.h - The table of all failures of an exchange (contract section 5).
 *
 * The numbers are sent in gate messages and in RESET frames of tunnel protocol v2, so they are part
 * of PROTOCOL.md: never renumber, only append. */
#ifndef PIPEGATE_FAIL_H
#define PIPEGATE_FAIL_H

#include <stdbool.h>
#include <stdint.h>

/* clang-format off */
/*  constant, number, status, Retry-After (1: the response has it), code, detail for people */
#define FAIL_TABLE(X) \
	X(FAIL_NONE, 0, 0, 0, "ok", "") \
	X(FAIL_NOT_FOUND, 1, 404, 0, "not-found", "There is nothing here.") \
	X(FAIL_BAD_PATH, 2, 400, 0, "bad-path", "The path is ambiguous and was refused.") \
	X(FAIL_TUNNEL_OFFLINE, 3, 503, 1, "tunnel-offline", \
	  "The tunnel is not connected right now.") \
	X(FAIL_TUNNEL_UNKNOWN, 4, 503, 0, "tunnel-unknown", \
	  "No tunnel of this name is connected.") \
	X(FAIL_QUEUE_FULL, 5, 503, 1, "queue-full", \
	  "Too many requests are waiting for this tunnel.") \
	X(FAIL_BODY_TOO_LARGE, 6, 413, 0, "body-too-large", "The request body is too large.") \
	X(FAIL_TUNNEL_LOST, 7, 502, 0, "tunnel-lost", \
	  "The tunnel was lost before a response arrived.") \
	X(FAIL_RESPONSE_TIMEOUT, 8, 504, 0, "response-timeout", \
	  "No response arrived through the tunnel in time.") \
	X(FAIL_SHUTTING_DOWN, 9, 503, 1, "shutting-down", "The tunnel broker is shutting down.") \
	X(FAIL_TARGET_UNREACHABLE, 10, 504, 0, "target-unreachable", \
	  "The local service behind the tunnel did not respond.") \
	X(FAIL_BROKER_UNAVAILABLE, 11, 503, 1, "broker-unavailable", \
	  "The tunnel broker is not available.") \
	X(FAIL_BAD_RESPONSE, 12, 502, 0, "bad-response", \
	  "The tunnel client sent an impossible response.") \
	X(FAIL_UNSUPPORTED, 13, 501, 0, "unsupported-by-client", \
	  "The tunnel client cannot carry this kind of request.") \
	X(FAIL_BAD_REQUEST, 14, 400, 0, "bad-request", "The request is malformed.") \
	X(FAIL_CANCELLED, 15, 499, 0, "cancelled", "The caller closed the connection.") \
	X(FAIL_OVERLOADED, 16, 503, 1, "overloaded", "The server has no room for more requests.") \
	X(FAIL_IDLE_TIMEOUT, 17, 504, 0, "idle-timeout", "The exchange was idle for too long.")
/* clang-format on */

enum fail {
#define X(name, number, status, retry, code, detail) name = number,
	FAIL_TABLE(X)
#undef X
		FAIL_COUNT
};

const char *fail_code(enum fail f);   /* "tunnel-lost"; "internal" for a number not in the table */
const char *fail_detail(enum fail f); /* one sentence for people */

/* Returns the HTTP status. Two codes have a second status for a request that the broker had
 * `accepted` before it failed: broker-unavailable 502 instead of 503, shutting-down 504 instead of
 * 503. */
int fail_status(enum fail f, bool accepted);

bool fail_wants_retry_after(enum fail f); /* the response has a Retry-After field */

#endif
