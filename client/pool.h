/* client/pool.h - Connections to the local app that wait for another request, and the decision whether there may be
 * any.
 *
 * An app that closes a connection without announcing it loses the request that is on its way; that request must not be
 * sent again, because nothing proves that the app has not read it. So the pool learns what the app does:
 *
 * - A connection that has carried more requests than any before it rests first: it counts as good only once it has
 *   stayed open and silent for a while. One connection rests at a time, others of its age are closed.
 * - When the app closes a kept connection, or sends on one unasked, all are closed, and none is kept for a minute;
 *   for twice as long each time, up to an hour, if that happens again soon.
 * - A connection is kept for 1 s, and carries 100 requests. The oldest is used first.
 *
 * `--keep-alive off`: none is ever kept. */
#ifndef PIPEGATE_POOL_H
#define PIPEGATE_POOL_H

#include "client/wire.h"

struct pool;

struct pool *pool_new(uv_loop_t *loop, bool keeps);
void pool_destroy(struct pool **pp); /* closes all; then the loop has to run once more */

bool pool_keeps(const struct pool *p); /* false: pool_put() would close */

/* Takes a connection that has carried `uses` requests: keeps or closes it. */
void pool_put(struct pool *p, struct wire **wp, unsigned uses);
struct wire *pool_take(struct pool *p, unsigned *uses); /* NULL: none is fit */

/* Call when a kept connection ended before it carried a response, or when an app sent more than its response. `why` is
 * a literal. */
void pool_distrust(struct pool *p, const char *why);

#endif
