/* client/request_writer.h - A request head as the broker hands it on, made into the bytes that the local app is sent. Pure:
 * no sockets. */
#ifndef PIPEGATE_REQUEST_WRITER_H
#define PIPEGATE_REQUEST_WRITER_H

#include "client/settings.h"
#include "common/buf.h"
#include "common/fail.h"

#include <stdbool.h>
#include <stddef.h>

/* What became of it. */
struct request_writer {
	bool is_head;  /* HEAD: no response to it has a body */
	bool has_body; /* it follows, ... */
	bool chunked;  /* ... in chunks, or as many bytes as `body_bytes` */
	bool expects;  /* 100-continue */
	bool is_last;  /* its connection must carry no other request behind it */
	long long body_bytes;
};

/* Appends the head with its empty line to `out`. `has_body` false: there is none, whatever ":length" says. `keeps`
 * false: the connection is closed behind the response, and the app is told so. FAIL_BAD_PATH: its path could leave the
 * target's base. FAIL_BAD_REQUEST: something in it cannot be sent. */
enum fail request_writer_write(struct buf *out, struct request_writer *r, const struct target *t,
			       const void *head, size_t head_bytes, bool has_body,
			       bool keeps) MUST_CHECK;

bool request_writer_is_upgrade(const void *head,
			       size_t head_bytes); /* is it a handshake (":upgrade")? */

/* Likewise, of a handshake: as the caller wrote it; "Connection" and "Upgrade", which are between two machines,
 * anew. */
enum fail request_writer_write_upgrade(struct buf *out, const struct target *t, const void *head,
				       size_t head_bytes) MUST_CHECK;

#endif
