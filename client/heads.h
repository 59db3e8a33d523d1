/* client/heads.h - Heads between the tunnel and the local app. A request head as the broker hands it on, made
 * into what the app is sent; and the app's answer, made into what the broker is sent. Pure: no sockets. */
#ifndef PIPEGATE_HEADS_H
#define PIPEGATE_HEADS_H

#include "client/settings.h"
#include "common/head.h"

#include <stdbool.h>
#include <stddef.h>

struct request_line {
	char *method;
	char *target; /* with the target's base path before it */
};

/* False: something in it cannot be sent. Otherwise ends with request_line_fini(). */
bool request_line_read(struct request_line *l, const struct settings *s, const void *head,
		       size_t head_bytes) MUST_CHECK;
void request_line_fini(struct request_line *l);

/* The end-to-end header fields, Host first; without Content-Length. Borrows all. */
struct request_fields {
	const struct settings *settings;
	struct head_field host;
	bool host_given;
	struct head_reader reader;
};

void request_fields_init(struct request_fields *r, const struct settings *s, const void *head,
			 size_t head_bytes);

/* 1: *out is the next one. 0: the end. -1: the head cannot be sent. */
int request_fields_next(struct request_fields *r, struct head_field *out) MUST_CHECK;

/* Is it a handshake (":upgrade")? */
bool request_is_upgrade(const void *head, size_t head_bytes);

/* The answer's fields to a head for the responder: ":status" and ":origin", then all that are end-to-end. A
 * Content-Length beside Transfer-Encoding means nothing (RFC 9112 6.3). */
void answer_head_make(struct head *out, const struct settings *s, int status,
		      const struct head *fields);

/* Adds one field of the app's, trimmed (RFC 9112 5.1). False: it cannot pass, or is one too many. */
bool answer_field_add(struct head *fields, const char *name, size_t name_bytes, const char *value,
		      size_t value_bytes) MUST_CHECK;

#endif
