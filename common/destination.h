/* common/destination.h - Request fields in which WebDAV names URLs of the server that is asked:
 * Destination, and the tagged lists of If (RFC 4918 10.3, 10.4). The caller names them as they
 * are in public; each hop that changes the name of what is asked for changes them too. Pure. */
#ifndef PIPEGATE_DESTINATION_H
#define PIPEGATE_DESTINATION_H

#include "common/buf.h"
#include "common/head.h"
#include "common/place.h"

#include <stdbool.h>

/* Borrowed. */
struct destination_map {
	struct place from; /* the origin as the caller knows it; all 0: none */
	/* Removed from the path; a URL that is not below it stays as it is. */
	const char *from_prefix;
	const char *to_origin; /* "scheme://host" as the next one is asked */
	const char *to_prefix; /* put in front of the path */
};

bool destination_is_in(const struct head_field *f); /* is it one of these fields? */

/* Appends the field's value as the next one has to read it. URLs elsewhere, and what is no URL,
 * stay as they are. */
void destination_write(struct buf *out, const struct destination_map *m,
		       const struct head_field *f);

#endif
