/* fcgi/threads.h - A pool of threads for work that waits for a caller: libfcgi blocks while a
 * request body arrives slowly. One thread per job, and a few idle ones. */
#ifndef PIPEGATE_THREADS_H
#define PIPEGATE_THREADS_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct threads;

/* A unit of work, embedded by its owner. */
struct job {
	STAILQ_ENTRY(job) link;
};

/* Returns a pool, whose threads run `work`. */
struct threads *threads_new(size_t threads_max, void (*work)(struct job *job));

/* Runs a job at once in a thread of its own; at most `threads_max` jobs may run concurrently.
 * Returns false if no thread could be created. */
bool threads_run(struct threads *p, struct job *job) MUST_CHECK;

/* Waits at most `max_ms` until all threads have ended. Returns false if some job still hangs; the
 * pool stays alive then, and the process must end without threads_destroy(). */
bool threads_stop(struct threads *p, int64_t max_ms) MUST_CHECK;
void threads_destroy(struct threads **pp); /* after threads_stop() returned true */

#endif
