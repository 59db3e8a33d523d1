/* client/request_writer.h - Turns the request head from the broker into the bytes for the local
 * app. Pure: no sockets. */
#ifndef PIPEGATE_REQUEST_WRITER_H
#define PIPEGATE_REQUEST_WRITER_H

#include "client/settings.h"
#include "common/buf.h"
#include "common/fail.h"

#include <stdbool.h>
#include <stddef.h>

/* What was written. */
struct request_writer {
	bool is_head;  /* HEAD: its response has no body */
	bool has_body; /* a body follows, ... */
	bool chunked;  /* ... in chunks; otherwise `body_bytes` */
	bool expects;  /* 100-continue */
	bool is_last;  /* no other request may follow on its connection */
	long long body_bytes;
};

/* Appends the head with its empty line to `out`. `has_body` false: it has no body, whatever
 * ":length" says. `keeps` false: the connection is closed after the response, and the head says so.
 * FAIL_BAD_PATH: the path might leave the target's base. FAIL_BAD_REQUEST: the head has a part that
 * cannot be sent. */
enum fail request_writer_write(struct buf *out, struct request_writer *r, const struct target *t,
			       const void *head, size_t head_bytes, bool has_body,
			       bool keeps) MUST_CHECK;

/* Returns true for a WebSocket handshake (":upgrade"). */
bool request_writer_is_upgrade(const void *head, size_t head_bytes);

/* The same for a handshake, as the caller wrote it. "Connection" and "Upgrade", which are
 * hop-by-hop, are written anew. */
enum fail request_writer_write_upgrade(struct buf *out, const struct target *t, const void *head,
				       size_t head_bytes) MUST_CHECK;

#endif
