/* common/window_budget.h - PIPEGATE_BUFFER_BYTES: what the receive windows of a process may have
 * beyond their first FRAME_WINDOW_BYTES. Pure arithmetic, used by both ends of a tunnel.
 *
 * One connection id may have as much as is left for all others (a "dynamic threshold"): alone
 * half of the budget, beside two others that want all they can get a quarter. So there is always
 * something left for an id that comes later, and nobody has to be counted. */
#ifndef PIPEGATE_WINDOW_BUDGET_H
#define PIPEGATE_WINDOW_BUDGET_H

#include "common/check.h"

#include <stdbool.h>
#include <stdint.h>

struct window_budget {
	int64_t total_bytes;
	int64_t used_bytes;
};

/* Of one connection id. Initialise with zeros. */
struct window_share {
	int64_t used_bytes;
};

/* True if a window of this id may grow by `bytes`. `limit_bytes`: what the id may have in all. */
bool window_budget_admits(const struct window_budget *b, const struct window_share *s,
			  int64_t limit_bytes, int64_t bytes) MUST_CHECK;

/* Changes what one window is charged from *charged_bytes to `bytes`, and sets it. */
void window_budget_charge(struct window_budget *b, struct window_share *s, int64_t *charged_bytes,
			  int64_t bytes);

#endif
