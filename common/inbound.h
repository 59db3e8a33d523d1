/* common/inbound.h - Turns the fields of a public request or WebSocket handshake into those that
 * the local app receives: which of the caller's fields pass, which are changed, and which we add.
 * One policy for two adapters: CGI variables (fcgi/request.c) and an HTTP head
 * (broker/ws_request.c). Contract section 3, "Headers". Pure.
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

/* What the web server knows about the request. Borrowed until inbound_finish(); no member is
 * NULL. */
struct inbound_public {
	const char *corr_hex;
	const char *address; /* the caller's; "": unknown */
	const char *host;    /* as the caller wrote it; "": none */
	const char *prefix;  /* removed from the path; "": nothing is */
	const char *origin;  /* inbound_origin() of `host` */
	bool https;
	/* The web server checked a password, so a Basic or Digest password is for it, not the
	 * app. */
	bool password_checked;
	bool joins_cookies_by_comma; /* it may have joined two Cookie lines to "a=b, c=d" */
};

struct inbound {
	const struct inbound_public *public;
	struct head *head; /* receives the fields */
	struct http_connection connection;
	struct destination_map map;
	struct buf cookies;
};

/* Returns "https://host", or "" if the host is empty or invalid. The caller frees it. */
char *inbound_origin(const char *host, bool https);

/* Begins the head with Host. */
void inbound_init(struct inbound *in, const struct inbound_public *public, struct head *head);

/* Adds the names in one of the caller's Connection fields: inbound_field() then drops fields of
 * these names. False: there are too many names; refuse the request. */
bool inbound_connection(struct inbound *in, const char *value, size_t bytes) MUST_CHECK;

/* Adds a field of the caller's, unchanged or rewritten, or drops it. */
void inbound_field(struct inbound *in, const struct head_field *f);

/* Adds all cookies as one field, then our own fields. Frees what `in` holds; `in` may be only
 * zeroed. */
void inbound_finish(struct inbound *in);

#endif
