/* client/pool.h - Connections to the local app that wait for another request: for a second at most, because an app
 * that closes idle connections must not do so under a request. */
#ifndef PIPEGATE_POOL_H
#define PIPEGATE_POOL_H

#include "client/wire.h"

struct pool;

struct pool *pool_new(uv_loop_t *loop);
void pool_destroy(struct pool **pp); /* closes all; then the loop has to run once more */

void pool_put(struct pool *p, struct wire **wp); /* takes it */
struct wire *pool_take(struct pool *p);		 /* the one used last. NULL: none is fit */

#endif
