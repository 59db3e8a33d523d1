/* common/access_log.h - The log line of a finished request. The three programs write the same form,
 * so that one correlation id finds a request in all of their logs:
 *
 *   info request.done conn=my-app corr=0123...cdef method="GET" path="/x" status=200 up_bytes=0
 *   down_bytes=12 ms=5
 *
 * up_bytes and down_bytes count the body bytes that passed this program, up to the app and down to
 * the caller. A failed request also has code=CODE, and delivered=no|maybe if the program knows it.
 * The path is logged without its query or fragment, which may contain secrets. status=0: no status
 * was sent to the caller.
 *
 * Failures that anybody on the Internet can cause without a tunnel (tunnel-unknown, not-found,
 * bad-path, bad-request) have a stricter limit than other lines: see log_request_passes(). */
#ifndef PIPEGATE_ACCESS_LOG_H
#define PIPEGATE_ACCESS_LOG_H

#include "common/fail.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

enum {
	/* Limits in bytes; a longer method or path is truncated and marked by "...". */
	ACCESS_LOG_METHOD_BYTES = 32,
	ACCESS_LOG_PATH_BYTES = 256,
	ACCESS_LOG_NUMBERS = 4,
};

/* Copies the method and the path as received, without query and fragment, truncated to the
 * limits above. The caller frees the result. NULL: no line will be written (PIPEGATE_LOG=quiet). */
struct access_log_request;
struct access_log_request *access_log_request(const void *method, size_t method_bytes,
					      const void *target, size_t target_bytes);

/* Does the same for a request head (head.h). Safe on any bytes. */
struct access_log_request *access_log_request_of(const void *head, size_t head_bytes);

struct access_log_number {
	const char *name; /* "head_ms"; NULL ends the array */
	int64_t value;	  /* negative: unknown, and not written */
};

struct access_log_line {
	const char *conn; /* "" or NULL: none */
	const char *corr; /* hexadecimal; "" or NULL: none */
	const struct access_log_request *request;
	int status;
	enum fail fail;
	const char *delivered; /* "no", "maybe"; NULL: unknown, and not written */
	int64_t up_bytes, down_bytes;
	struct access_log_number numbers[ACCESS_LOG_NUMBERS]; /* written in this order */
};

/* Writes the line; nothing if `request` is NULL. */
void access_log_put(const struct access_log_line *l);

#endif
