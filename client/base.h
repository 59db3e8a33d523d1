/* client/base.h - Keeps every request below the base path of TARGET_URL, whatever the server sends.
 * Pure. */
#ifndef PIPEGATE_BASE_H
#define PIPEGATE_BASE_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

/* Returns true if `target` may be appended to the base. Returns false if some app might read one of
 * its segments as "..": percent-encoded up to four times, written with an overlong UTF-8 dot or
 * slash, separated by a backslash or NUL, or followed by something that apps cut off (";x", "?",
 * "#", a blank). With an empty base ("") it refuses only what the responder refuses too (contract:
 * bad-path). It examines the path; the query may hold anything. */
bool base_holds(const char *base, const char *target, size_t bytes) MUST_CHECK;

#endif
