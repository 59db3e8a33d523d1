/* fcgi/request.h - Evaluates the web server's description of a public request: which tunnel it is
 * for, and the head that the local app receives (contract section 3). Pure: no FastCGI, no
 * sockets. */
#ifndef PIPEGATE_REQUEST_H
#define PIPEGATE_REQUEST_H

#include "common/local_reply.h"
#include "common/access_log.h"
#include "common/fail.h"
#include "common/gate_msg.h"
#include "common/head.h"
#include "common/rewrite.h"

#include <stdbool.h>
#include <stdint.h>

/* The parameters of one request. Returned strings are valid for the life of the request. */
struct request_parameters {
	void *ctx;
	const char *(*get)(void *ctx, const char *name); /* NULL: not set */
	const char *(*entry)(void *ctx, size_t index);	 /* "NAME=value"; NULL after the last */
};

enum request_kind {
	REQUEST_TUNNEL, /* id and head are set */
	REQUEST_HEALTHZ,
	REQUEST_REDIRECT, /* 308 to `location` */
	REQUEST_REFUSED,  /* `fail` */
};

struct request {
	enum request_kind kind;
	enum fail fail;
	char id[CONNECTION_ID_MAX_BYTES + 1];
	char corr_hex[2 * CORR_BYTES + 1];
	uint8_t corr[CORR_BYTES];
	struct access_log_request *log_line; /* what the caller asked for; may be NULL */
	bool has_length;
	int64_t length_bytes;  /* as declared; valid if has_length */
	struct head head;      /* sent to the client */
	char *location;	       /* REQUEST_REDIRECT */
	char *prefix, *origin; /* owned; `public` points to them */
	struct public_name public;
	struct local_reply_to to; /* for responses of our own */
};

/* Always succeeds: a fault of the request is recorded in *r. End with request_fini(). */
void request_read(struct request *r, const struct request_parameters *p);
void request_fini(struct request *r);

#endif
