/* client/request_writer.h - Turns the request head from the broker into the bytes for the local
 * app. Pure: no sockets. */
#ifndef PIPEGATE_REQUEST_WRITER_H
#define PIPEGATE_REQUEST_WRITER_H

#include "client/settings.h"
#include "common/buf.h"
#include "common/fail.h"

#include <stdbool.h>
#include <stddef.h>

/* A request to be written. All is borrowed. */
struct request_input {
	const struct target *target;
	const void *head;
	size_t head_bytes;
	bool has_body;	 /* false: it has no body, whatever ":length" says */
	bool keeps_open; /* false: the app is told to close the connection after the response */
};

/* What was written. */
struct written_request {
	bool is_head;  /* HEAD: its response has no body */
	bool has_body; /* a body follows, ... */
	bool chunked;  /* ... in chunks; otherwise `body_bytes` */
	bool expects;  /* 100-continue */
	bool is_last;  /* no other request may follow on its connection */
	long long body_bytes;
};

/* Appends the head with its empty line to `out`. FAIL_BAD_PATH: the path might leave the target's
 * base. FAIL_BAD_REQUEST: the head has a part that cannot be sent. */
enum fail request_writer_write(struct buf *out, struct written_request *r,
			       const struct request_input *in) MUST_CHECK;

/* Returns true for a WebSocket handshake (":upgrade"). */
bool request_writer_is_upgrade(const void *head, size_t head_bytes);

/* The same for a handshake, as the caller wrote it. "Connection" and "Upgrade", which are
 * hop-by-hop, are written anew. */
enum fail request_writer_write_upgrade(struct buf *out, const struct request_input *in) MUST_CHECK;

#endif
