/* common/access_log.h - One line per finished request, alike in the three programs, so that the
 * correlation id finds one request in all of them:
 *
 *   info request.done conn=my-app corr=0123...cdef method="GET" path="/x" status=200 up_bytes=0
 *   down_bytes=12 ms=5
 *
 * Bytes are those of the bodies that passed this program, up to the app and down to the caller.
 * A request that failed has code=CODE too, and delivered=no|maybe where the program knows it.
 * The path stands without its query, which may hold secrets. status=0: the caller got none.
 *
 * What anybody on the Internet can cause without a tunnel (tunnel-unknown, not-found, bad-path,
 * bad-request) has a stricter limit than the rest: see log_request_passes(). */
#ifndef PIPEGATE_ACCESS_LOG_H
#define PIPEGATE_ACCESS_LOG_H

#include "common/fail.h"
#include "common/gate_msg.h"

#include <stddef.h>
#include <stdint.h>

enum {
	ACCESS_LOG_METHOD_BYTES = 32, /* what is longer is cut */
	ACCESS_LOG_PATH_BYTES = 256,
	ACCESS_LOG_NUMBERS = 4,
};

/* What was asked for: the method and the path as they came, cut where too long, without the query.
 * The caller frees it. NULL: there will be no line (PIPEGATE_LOG=quiet). */
struct access_log_request;
struct access_log_request *access_log_request(const void *method, size_t method_bytes,
					      const void *target, size_t target_bytes);

/* The same of the head of a request (head.h). Safe on any bytes. */
struct access_log_request *access_log_request_of(const void *head, size_t head_bytes);

struct access_log_number {
	const char *name; /* "head_ms"; NULL: no more */
	int64_t value;	  /* negative: none, and it is left out */
};

struct access_log_line {
	const char *conn; /* "" or NULL: none */
	const char *corr; /* hexadecimal; "" or NULL: none */
	const struct access_log_request *request;
	int status;
	enum fail fail;
	const char *delivered; /* "no", "maybe"; NULL: nothing to say */
	int64_t up_bytes, down_bytes;
	struct access_log_number numbers[ACCESS_LOG_NUMBERS]; /* in their order */
};

/* Writes the line; nothing where `request` is NULL. */
void access_log_put(const struct access_log_line *l);

#endif
