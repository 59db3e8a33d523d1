/* common/log_output.h - The way of the log's lines to stderr.
 *
 * A thread that handles events in a loop gathers its lines: those of one turn are written by one
 * system call when it calls log_output_flush() before it waits. An error or a warning is written
 * at once, together with all lines before it. The lines of all other threads are written at once
 * too. The order of the lines is kept in every case.
 *
 * No reader of stderr can stop the program: bytes for which a pipe, a socket or a terminal has no
 * room stay in a buffer of LOG_OUTPUT_BYTES, and are written later. Once it is full, lines are
 * refused.
 *
 * The process writes what is left when it exits, and when a CHECK() fails. */
#ifndef PIPEGATE_LOG_OUTPUT_H
#define PIPEGATE_LOG_OUTPUT_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	LOG_OUTPUT_BYTES = 64 * 1024,
	/* Limit on the wait for a slow reader when the process exits; what is left then is lost. */
	LOG_OUTPUT_EXIT_WAIT_MS = 1000,
};

/* The calling thread gathers its lines from now on. It must call log_output_flush() before each
 * wait. */
void log_output_gather(void);

/* Writes what is gathered. Returns whether nothing is left; otherwise the reader is slow, and the
 * caller should call again soon. */
bool log_output_flush(void);

/* Writes what is left, waiting for a slow reader up to LOG_OUTPUT_EXIT_WAIT_MS; later lines are
 * written at once. exit(3) does this for a process in which a thread gathers; call it before
 * _exit(2). */
void log_output_finish(void);

/* Appends a whole line, with its newline. With `urgent` it is written at once. False: the buffer is
 * full, and the line was refused. Thread-safe. */
bool log_output_line(const char *line, size_t bytes, bool urgent) MUST_CHECK;

#endif
