/* fcgi/pool.h - The worker threads. libfcgi blocks, so a request holds a thread for its life: there are
 * as many as there are requests, up to a limit, and a few idle ones. */
#ifndef PIPEGATE_POOL_H
#define PIPEGATE_POOL_H

#include "common/check.h"
#include "fcgi/mux.h"

#include <stdbool.h>

#include <stddef.h>
#include <stdint.h>

struct pool;

/* Starts to serve the listening socket, which it borrows. */
struct pool *pool_new(int listen_fd, struct mux *mux, size_t threads_max, int64_t max_body_bytes);

/* Takes no more requests and lets the running ones finish for `drain_ms`; then they are ended as
 * "shutting-down", which takes a second at most. False: some thread hangs still, and the pool lives on;
 * the process has to end without pool_destroy(). */
bool pool_stop(struct pool *p, int64_t drain_ms) MUST_CHECK;
void pool_destroy(struct pool **pp); /* after pool_stop() was true */

#endif
