/* common/log_json.h - A line of the log as a JSON object (PIPEGATE_LOG=json):
 *
 *   {"time": "2026-11-25T10:00:00.123Z", "level": "info", "program": "pipegate-broker", "event":
 *   "tunnel.open",
 *    "conn": "my-app", "tunnel": 1, ...}
 *
 * A member for each key=value, in their order: an integer where the value is one and does not
 * stand in quotes, but for "conn" and "corr"; otherwise a string. A string holds what stands in
 * the text line between the quotes, so bytes that are not printable are \xNN there, and a quote
 * or a backslash has a backslash before it. A key that is taken already gets a "_" at its end
 * ("event_" of log.suppressed). Words that belong to no key are joined in "text". */
#ifndef PIPEGATE_LOG_JSON_H
#define PIPEGATE_LOG_JSON_H

#include "common/check.h"

#include <stddef.h>
#include <stdint.h>

/* Writes the object for `text`, an event without its level; `suppressed` is a member if it is
 * not 0. Any bytes make a well-formed object of one line. Returns its length, at most
 * `out_bytes`, without a NUL. What has no room, or no memory, becomes a short object that says
 * so. `out_bytes`: at least 128. */
size_t log_json_write(char *out, size_t out_bytes, const char *level, const char *text,
		      uint64_t suppressed);

#endif
