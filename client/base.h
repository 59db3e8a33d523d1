/* client/base.h - The base of TARGET_URL is a boundary: no request leaves it, whoever the server
 * is. Pure. */
#ifndef PIPEGATE_BASE_H
#define PIPEGATE_BASE_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

/* May this target be put behind the base? False: some app might take a segment of it for "..":
 * percent-encoded up to four times over, with an overlong UTF-8 dot or slash, split at a
 * backslash or NUL, or with something behind the dots that apps cut off (";x", "?", "#", a
 * blank). Without a base ("") there is nothing to leave: only what the responder refuses too
 * (contract: bad-path). Judges the path; the query may hold anything. */
bool base_holds(const char *base, const char *target, size_t bytes) MUST_CHECK;

#endif
