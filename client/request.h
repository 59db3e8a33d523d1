/* client/request.h - A request head as the broker hands it on, made into the bytes that the local app is sent. Pure:
 * no sockets. */
#ifndef PIPEGATE_CLIENT_REQUEST_H
#define PIPEGATE_CLIENT_REQUEST_H

#include "client/settings.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* What became of it. */
struct request {
	bool is_head;  /* HEAD: no answer to it has a body */
	bool has_body; /* it is to follow, ... */
	bool chunked;  /* ... in chunks, or as many bytes as `body_bytes` */
	bool expects;  /* 100-continue */
	long long body_bytes;
};

/* Appends the head with its empty line to `out`. `has_body` false: there is none, whatever ":length" says. False:
 * something in it cannot be sent. */
bool request_write(struct buf *out, struct request *r, const struct settings *s, const void *head,
		   size_t head_bytes, bool has_body) MUST_CHECK;

bool request_is_upgrade(const void *head, size_t head_bytes); /* is it a handshake (":upgrade")? */

/* Likewise, of a handshake: as the caller wrote it; "Connection" and "Upgrade", which are between two machines,
 * anew. */
bool request_write_upgrade(struct buf *out, const struct settings *s, const void *head,
			   size_t head_bytes) MUST_CHECK;

#endif
