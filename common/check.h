/* common/check.h - Contracts between our own functions.
 *
 * CHECK is never compiled out: a broken contract ends the process before it can corrupt another
 * tenant's request. Input from a peer is never CHECKed: it is validated, and a rejection affects
 * only that peer. */
#ifndef PIPEGATE_CHECK_H
#define PIPEGATE_CHECK_H

#include <stddef.h>

#define CHECK(expr) ((expr) ? (void)0 : check_fail(#expr, __FILE__, __LINE__, __func__))
_Noreturn void check_fail(const char *expr, const char *file, int line, const char *func);

/* Called before the process aborts, if set. */
extern void (*check_before_abort)(void);

#define MUST_CHECK	      __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, arg) __attribute__((format(printf, fmt, arg)))

/* Allocations whose size we choose: a failure ends the process with one line on stderr. A size
 * that a peer chooses is bounded first and then passed to plain malloc(); a failure affects only
 * that peer. */
_Noreturn void out_of_memory(void);
void *xcalloc(size_t count, size_t bytes);
void *xmalloc(size_t bytes);
void *xrealloc(void *old, size_t bytes);
char *xstrdup(const char *text);

#endif
