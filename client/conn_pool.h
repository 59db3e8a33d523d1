/* client/conn_pool.h - Idle connections to the local app, and the decision whether to keep any.
 *
 * When an app closes a connection without announcing it, a request sent at that moment is lost. It
 * must not be sent again, because the app may have read it. So the pool learns how the app behaves:
 *
 * - A connection that has carried more requests than any before it rests first: it is kept only
 *   if it stays open and silent for a while. One connection rests at a time; others with as many
 *   requests are closed.
 * - When the app closes an idle connection, or sends on one unexpectedly, all are closed, and none
 *   is kept for one minute. The pause doubles, up to one hour, if that happens again soon.
 * - A connection is kept for 1 s and carries up to 100 requests. The oldest is used first.
 *
 * With `--keep-alive off`, none is ever kept. */
#ifndef PIPEGATE_CONN_POOL_H
#define PIPEGATE_CONN_POOL_H

#include "client/conn.h"

struct conn_pool;

struct conn_pool *conn_pool_new(uv_loop_t *loop, bool keeps);
/* Closes all connections. Run the loop once more after it. */
void conn_pool_destroy(struct conn_pool **pp);

bool conn_pool_keeps(const struct conn_pool *p); /* false: conn_pool_put() would close */

/* Keeps or closes a connection that has carried `uses` requests. *wp becomes NULL. */
void conn_pool_put(struct conn_pool *p, struct conn **cp, unsigned uses);
struct conn *conn_pool_take(struct conn_pool *p, unsigned *uses); /* NULL: none is usable */

/* Call when an idle connection was closed before it carried a response, or when an app sent more
 * than its response. `why` is a literal. */
void conn_pool_distrust(struct conn_pool *p, const char *why);

#endif
