/* common/log_json.h - A line of the log as a JSON object (PIPEGATE_LOG=json):
 *
 *   {"time": "2026-11-25T10:00:00.123Z", "level": "info", "program": "pipegate-broker",
 *    "event": "tunnel.open", "conn": "my-app", "tunnel": 1, ...}
 *
 * Each key=value becomes a member, in the same order. The value is an integer if it is written as
 * one without quotes and the key is neither "conn" nor "corr"; otherwise it is a string. A string
 * is the text between the quotes unchanged: bytes that are not printable are \xNN, and quotes and
 * backslashes have a backslash before them. A repeated key gets "_" appended ("event_" in
 * log.suppressed). Words without a key are joined in "text". */
#ifndef PIPEGATE_LOG_JSON_H
#define PIPEGATE_LOG_JSON_H

#include "common/check.h"

#include <stddef.h>
#include <stdint.h>

/* Writes the object for `text`, an event without its level; `suppressed` is a member if it is not
 * 0. Any bytes give a well-formed object on one line. Returns its length, at most `out_bytes`,
 * without a NUL. If the object does not fit, or without memory, writes a short object with the
 * event log.no_room instead. `out_bytes`: at least 128. */
size_t log_json_write(char *out, size_t out_bytes, const char *level, const char *text,
		      uint64_t suppressed);

#endif
