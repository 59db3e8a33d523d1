/* common/log.h - One line per event on stderr: `LEVEL event.name key=value ...`, or the same as
 * a JSON object.
 *
 * Event names are stable (operators and tests match them). Never log tokens, header values or
 * bodies. Bytes from a peer must pass log_quote(). Thread-safe. When lines are written, and how a
 * slow reader of stderr is treated: see log_output.h. A line that is refused there is counted, and
 * the next line that is accepted follows a line log.dropped with the number. */
#ifndef PIPEGATE_LOG_H
#define PIPEGATE_LOG_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -v: debug lines too, and every line is written at once. Set at the start. */
extern bool log_verbose;

/* PIPEGATE_LOG. Set at the start. */
enum log_mode {
	LOG_TEXT,
	LOG_JSON,  /* each line is a JSON object: see log_json.h */
	LOG_QUIET, /* text, without the lines of finished requests */
};
extern enum log_mode log_mode;

/* Sets log_mode to "text", "json" or "quiet". False: the text names no mode. */
bool log_mode_from_text(const char *text) MUST_CHECK;

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Rate-limited lines, for events that a peer can cause at will. The limit is per kind (one
 * `fmt`, a string constant) and `who`: LOG_BURST lines pass at once, then one each second.
 * suppressed=N in a line is the number of lines suppressed before it; if no further line
 * follows, a line log.suppressed reports it. `who` is a connection id or another word, so that
 * the flood of one peer does not suppress the lines of another; it may be "". With log_verbose
 * all lines pass. */
enum { LOG_BURST = 20, LOG_WHO_MAX_BYTES = 64 };
void log_limited_error(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_limited_warn(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_limited_info(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_seldom_warn(const char *fmt, ...) PRINTF_LIKE(1, 2); /* one each minute per kind */

/* The lines of finished requests, in two steps, so that a suppressed line costs almost nothing.
 * Normally `who` is a connection id with a tunnel of the operator's, and the limit only protects
 * the disk: LOG_REQUESTS_BURST lines pass at once, then LOG_REQUESTS_PER_S. With `by_anybody`,
 * for requests that anybody can make without a tunnel, the limit is that of log_limited_info(). */
enum { LOG_REQUESTS_BURST = 2000, LOG_REQUESTS_PER_S = 1000 };
bool log_request_passes(const char *who, bool by_anybody, uint64_t *suppressed) MUST_CHECK;
/* `text`: the whole line, without its level. */
void log_request(const char *text, uint64_t suppressed);

/* From now on, calls `fn` for each line that this thread writes, before it is written: `text` is
 * the event without its level, `line` the whole line with its newline. `fn` must not log. NULL:
 * ends that. */
void log_tap(void (*fn)(void *ctx, const char *text, const char *line, size_t bytes), void *ctx);

/* Writes the log.suppressed lines that are due. Call it at regular intervals; without such calls
 * they are written with the next rate-limited line, or when the program ends. */
void log_tell_suppressed(void);

/* Copies bytes into out as printable ASCII that may stand in quotes; other bytes become \xNN. Text
 * that does not fit is truncated and ends in "...". Returns out, always NUL-terminated. */
const char *log_quote(char *out, size_t out_bytes, const void *text, size_t text_bytes);

#endif
