/* fcgi/threads.h - Threads for what has to wait for a caller: libfcgi blocks where a request
 * body comes slowly. There are as many as there is such work, and a few idle ones. */
#ifndef PIPEGATE_THREADS_H
#define PIPEGATE_THREADS_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct threads;

/* A piece of work, embedded by its owner. */
struct job {
	STAILQ_ENTRY(job) link;
};

/* `work` runs in a thread of the pool. */
struct threads *threads_new(size_t threads_max, void (*work)(struct job *job));

/* At most `threads_max` jobs at a time: each has a thread at once. False: no thread could be
 * had. */
bool threads_run(struct threads *p, struct job *job) MUST_CHECK;

/* Waits until all threads have ended, for `most_ms`. False: some job hangs still, and the pool
 * lives on; the process has to end without threads_destroy(). */
bool threads_stop(struct threads *p, int64_t most_ms) MUST_CHECK;
void threads_destroy(struct threads **pp); /* after threads_stop() was true */

#endif
