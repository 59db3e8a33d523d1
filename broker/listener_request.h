/* broker/listener_request.h - Parses the head of an HTTP request that arrived at the listener.
 * Pure. listener_request.c is the only file of the broker that includes http_parser.h. */
#ifndef PIPEGATE_LISTENER_REQUEST_H
#define PIPEGATE_LISTENER_REQUEST_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	/* Limit on a request head; a longer one gets 431. */
	LISTENER_REQUEST_MAX_BYTES = 32 * 1024,
	/* Limit on its header fields; more get 431. The web servers pass fewer, and add some. */
	LISTENER_REQUEST_FIELDS_MAX = 256,
};

/* Bytes as they arrived: borrowed from the head, not NUL-terminated. */
struct listener_text {
	const char *at;
	size_t bytes;
};

struct listener_header {
	struct listener_text name, value;
};

struct listener_request {
	const char *method;	    /* NUL-terminated */
	struct listener_text path;  /* up to '?' */
	struct listener_text query; /* after '?' */
	bool has_query;
	struct listener_header headers[LISTENER_REQUEST_FIELDS_MAX];
	size_t header_count;
	int http_minor;		    /* of HTTP/1.x; -1 for other versions */
	bool connection_upgrade;    /* Connection names "upgrade" */
	struct listener_text extra; /* bytes after the head */
};

/* Parses a head that is complete or has LISTENER_REQUEST_MAX_BYTES. Returns 0, or the HTTP status
 * that refuses the request: *r then holds what was parsed before the fault. */
int listener_request_parse(struct listener_request *r, const char *text, size_t bytes) MUST_CHECK;

/* Returns the value of the first header of that name that is not empty; bytes 0: there is none. */
struct listener_text listener_request_find(const struct listener_request *r, const char *name);

#endif
