/* common/log.h - One line per event on stderr: `LEVEL event.name key=value ...`.
 *
 * Event names are stable (operators and tests match them). Never log tokens, header values or
 * bodies. Bytes that came from a peer go through log_quote(). Thread-safe: one write per line. */
#ifndef PIPEGATE_LOG_H
#define PIPEGATE_LOG_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

extern bool log_verbose; /* -v: debug lines too. Set once, at the start */

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Copies bytes into out as printable ASCII fit to stand in quotes, \xNN for the rest, cut with "..." where
 * they do not fit. Returns out, always NUL-terminated. */
const char *log_quote(char *out, size_t out_bytes, const void *text, size_t text_bytes);

#endif
