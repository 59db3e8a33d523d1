/* common/destination.h - The request fields in which WebDAV carries URLs of the server itself:
 * Destination, and the tagged lists of If (RFC 4918 10.3, 10.4). The caller writes public URLs;
 * each hop that changes the request's URL must change these in the same way. Pure. */
#ifndef PIPEGATE_DESTINATION_H
#define PIPEGATE_DESTINATION_H

#include "common/buf.h"
#include "common/head.h"
#include "common/place.h"

#include <stdbool.h>

/* Borrowed. */
struct destination_map {
	struct place from; /* the origin as the caller knows it; all 0: none */
	/* Removed from the path. A URL that is not below it stays unchanged. */
	const char *from_prefix;
	const char *to_origin; /* "scheme://host" of the next hop's URL */
	const char *to_prefix; /* put before the path */
};

/* Returns whether the field is one of these. */
bool destination_is_in(const struct head_field *f);

/* Appends the field's value as the next hop needs it. A URL of another server, and any value that
 * is not a URL, stays unchanged. */
void destination_write(struct buf *out, const struct destination_map *m,
		       const struct head_field *f);

#endif
