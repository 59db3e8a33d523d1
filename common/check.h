/* common/check.h - Contracts between our own functions.
 *
 * CHECK is never compiled out: a broken promise between two of our own functions ends the process
 * before it can corrupt another tenant's request. What a peer sends is never CHECKed: it is
 * validated, and rejecting it costs that peer only. */
#ifndef PIPEGATE_CHECK_H
#define PIPEGATE_CHECK_H

#include <stddef.h>

#define CHECK(expr) ((expr) ? (void)0 : check_fail(#expr, __FILE__, __LINE__, __func__))
_Noreturn void check_fail(const char *expr, const char *file, int line, const char *func);

#define MUST_CHECK	      __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, arg) __attribute__((format(printf, fmt, arg)))

/* Allocations of a size we chose ourselves: a failure ends the process with one line. Sizes that a
 * peer chose are bounded first and then go through plain malloc, whose failure costs that peer. */
_Noreturn void out_of_memory(void);
void *xcalloc(size_t count, size_t bytes);
void *xmalloc(size_t bytes);
void *xrealloc(void *old, size_t bytes);
char *xstrdup(const char *text);

#endif
