/* client/conn_pool.h - Connections to the local app that wait for another request, and the decision
 * whether there may be any.
 *
 * An app that closes a connection without announcing it loses the request that is on its way; that
 * request must not be sent again, because nothing proves that the app has not read it. So the pool
 * learns what the app does:
 *
 * - A connection that has carried more requests than any before it rests first: it counts as good
 * only once it has
 *   stayed open and silent for a while. One connection rests at a time, others of its age are
 *   closed.
 * - When the app closes a kept connection, or sends on one unasked, all are closed, and none is
 * kept for a minute;
 *   for twice as long each time, up to an hour, if that happens again soon.
 * - A connection is kept for 1 s, and carries 100 requests. The oldest is used first.
 *
 * `--keep-alive off`: none is ever kept. */
#ifndef PIPEGATE_CONN_POOL_H
#define PIPEGATE_CONN_POOL_H

#include "client/conn.h"

struct conn_pool;

struct conn_pool *conn_pool_new(uv_loop_t *loop, bool keeps);
void conn_pool_destroy(struct conn_pool **pp); /* closes all; then the loop has to run once more */

bool conn_pool_keeps(const struct conn_pool *p); /* false: conn_pool_put() would close */

/* Takes a connection that has carried `uses` requests: keeps or closes it. */
void conn_pool_put(struct conn_pool *p, struct conn **wp, unsigned uses);
struct conn *conn_pool_take(struct conn_pool *p, unsigned *uses); /* NULL: none is fit */

/* Call when a kept connection ended before it carried a response, or when an app sent more than
 * its response. `why` is a literal. */
void conn_pool_distrust(struct conn_pool *p, const char *why);

#endif
