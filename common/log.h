/* common/log.h - One line per event on stderr: `LEVEL event.name key=value ...`, or the same as
 * a JSON object.
 *
 * Event names are stable (operators and tests match them). Never log tokens, header values or
 * bodies. Bytes that came from a peer go through log_quote(). Thread-safe: a line is written whole.
 * One that the reader of stderr has no room for is dropped and counted, so that no reader stops the
 * program. */
#ifndef PIPEGATE_LOG_H
#define PIPEGATE_LOG_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern bool log_verbose; /* -v: debug lines too. Set once, at the start */

/* PIPEGATE_LOG. Set once, at the start. */
enum log_mode {
	LOG_TEXT,
	LOG_JSON,  /* each line is a JSON object: see log_json.h */
	LOG_QUIET, /* text, without the lines of finished requests */
};
extern enum log_mode log_mode;
bool log_mode_from_text(const char *text) MUST_CHECK; /* false: it names no mode */

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Lines about what a peer can cause at will. Of one kind (one `fmt`, a string constant) about
 * one `who`, LOG_BURST lines pass, then one each second; a line says how many were left out
 * before it (suppressed=N), or a line log.suppressed does, once there are no more. `who` is a
 * connection id, or another word that tells apart whose flood may not hide whose lines; "" is
 * fine. With log_verbose all lines pass. */
enum { LOG_BURST = 20, LOG_WHO_MAX_BYTES = 64 };
void log_limited_error(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_limited_warn(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_limited_info(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_seldom_warn(const char *fmt, ...) PRINTF_LIKE(1, 2); /* one each minute */

/* The lines of finished requests, in two steps, so that a line that does not pass costs next to
 * nothing. Of one `who`, a connection id whose tunnel is the operator's own, the limit protects the
 * disk and no more: LOG_REQUESTS_BURST lines pass at once, then LOG_REQUESTS_PER_S. `by_anybody`:
 * anybody can cause them without a tunnel, so they are limited as by log_limited_info(). */
enum { LOG_REQUESTS_BURST = 2000, LOG_REQUESTS_PER_S = 1000 };
bool log_request_passes(const char *who, bool by_anybody, uint64_t *suppressed) MUST_CHECK;
/* `text`: the whole line, without its level. */
void log_request(const char *text, uint64_t suppressed);

/* A program with an event loop may have these lines wait for the end of a turn, so that a turn
 * costs one write and not one for each request. log_flush() must then be called before the loop
 * waits. Any other line writes them first, so lines stay in order. With log_verbose none wait. */
/* `on` false: those that wait are written, and later ones at once. */
void log_gather(bool on);
void log_flush(void);

/* Writes the log.suppressed lines that are due: now and then, where there is a tick. Without one
 * they come with the next line of the above, or when the program ends. */
void log_tell_suppressed(void);

/* Copies bytes into out as printable ASCII fit to stand in quotes, \xNN for the rest, cut with
 * "..." where they do not fit. Returns out, always NUL-terminated. */
const char *log_quote(char *out, size_t out_bytes, const void *text, size_t text_bytes);

#endif
