/* broker/hook.h - Runs the operator's program (PIPEGATE_HOOK) when a connection id gets its first
 * tunnel, or has lost its last one:
 *
 *   PROGRAM online|offline CONNECTION_ID
 *
 * One run at a time, so the order of events is kept; a run that lasts longer than HOOK_RUN_MAX_MS
 * is killed. The loop never waits for it. Its environment is PATH alone: it gets no secret. What it
 * writes goes to the broker's standard error. */
#ifndef PIPEGATE_HOOK_H
#define PIPEGATE_HOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
	HOOK_RUN_MAX_MS = 10000,
	HOOK_WAITING_MAX = 65536, /* events; further ones are lost, and counted */
};

struct hook;

/* Returns why `program` cannot be run; NULL: it can. */
const char *hook_fault(const char *program);

/* Borrows `program`. */
struct hook *hook_new(uv_loop_t *loop, const char *program);
/* `event` is static text. Runs nothing before the next turn of the loop. */
void hook_add(struct hook *h, const char *event, const char *id);
/* True if nothing runs or waits. NULL: true. */
bool hook_is_idle(const struct hook *h);
/* Events for which the program did not run, or whose run failed. NULL: 0. */
uint64_t hook_lost_count(const struct hook *h);
/* Forgets what waits, and lets go of what runs. A turn of the loop frees it. NULL is allowed. */
void hook_stop(struct hook **hp);

#endif
