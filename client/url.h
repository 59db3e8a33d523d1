/* client/url.h - Splits the two URLs of the command line. With response_parser.c, the only file of
 * the client that includes http_parser.h. */
#ifndef PIPEGATE_URL_H
#define PIPEGATE_URL_H

#include "common/check.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise; end with url_fini(). All strings are owned. */
struct url {
	char *scheme;	 /* in lower case */
	char *host;	 /* without the brackets of an IPv6 address */
	char *authority; /* host[:port] as it stands in the URL */
	char *path;	 /* with its query, begins with '/' */
	uint16_t port;	 /* 0: not given */
};

/* Returns false if the text is not scheme://host[:port][/path][?query], or contains a user name, a
 * fragment or port 0. */
bool url_split(struct url *u, const char *text) MUST_CHECK;
void url_fini(struct url *u);

#endif
