/* common/inbound.h - What a public request or WebSocket handshake is to the local app: which of the
 * caller's fields pass, as what, and those that we write. One policy for two adapters: CGI
 * variables (fcgi/request.c) and an HTTP head (broker/ws_request.c). Contract section 3, "Headers".
 * Pure.
 *
 *     inbound_init; inbound_connection for each Connection field; inbound_field for each field;
 *     inbound_finish */
#ifndef PIPEGATE_INBOUND_H
#define PIPEGATE_INBOUND_H

#include "common/buf.h"
#include "common/check.h"
#include "common/destination.h"
#include "common/head.h"
#include "common/http.h"

#include <stdbool.h>

/* What the web server knows. Borrowed until inbound_finish(); no member is NULL. */
struct inbound_public {
	const char *corr_hex;
	const char *address; /* the caller's; "": unknown */
	const char *host;    /* as the caller wrote it; "": none */
	const char *prefix;  /* what is taken off the path; "": nothing */
	const char *origin;  /* inbound_origin() of it */
	bool https;
	/* By the web server itself: a Basic or Digest password is not the app's. */
	bool password_checked;
	bool joins_cookies_by_comma; /* two Cookie lines may have become "a=b, c=d" */
};

struct inbound {
	const struct inbound_public *public;
	struct head *head; /* where the fields go */
	struct http_connection connection;
	struct destination_map map;
	struct buf cookies;
};

/* "https://host", or "" where the host is none, or not valid. The caller frees it. */
char *inbound_origin(const char *host, bool https);

/* Begins with Host. */
void inbound_init(struct inbound *in, const struct inbound_public *public, struct head *head);

/* What the caller's Connection names goes no further. False: it names too many. */
bool inbound_connection(struct inbound *in, const char *value, size_t bytes) MUST_CHECK;

/* A field of the caller's: passes, or not. */
void inbound_field(struct inbound *in, const struct head_field *f);

/* Adds all cookies as one field, and what we write ourselves. Ends `in`, also one that is only
 * zeroed. */
void inbound_finish(struct inbound *in);

#endif
