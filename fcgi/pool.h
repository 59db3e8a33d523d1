/* fcgi/pool.h - Threads for what has to wait for a caller: libfcgi blocks where a request body comes slowly. There
 * are as many as there is such work, and a few idle ones. */
#ifndef PIPEGATE_POOL_H
#define PIPEGATE_POOL_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct pool;

/* A piece of work, embedded by its owner. */
struct job {
	STAILQ_ENTRY(job) link;
};

/* `work` runs in a thread of the pool. */
struct pool *pool_new(size_t threads_max, void (*work)(struct job *job));

/* At most `threads_max` jobs at a time: each has a thread at once. False: no thread could be had. */
bool pool_give(struct pool *p, struct job *job) MUST_CHECK;

/* Waits until all threads have ended, for `most_ms`. False: some job hangs still, and the pool lives on; the
 * process has to end without pool_destroy(). */
bool pool_stop(struct pool *p, int64_t most_ms) MUST_CHECK;
void pool_destroy(struct pool **pp); /* after pool_stop() was true */

#endif
