/* common/window_budget.c - see window_budget.h. */
#include "common/window_budget.h"

bool window_budget_admits(const struct window_budget *b, const struct window_share *s,
			  int64_t limit_bytes, int64_t bytes)
{
	int64_t left_bytes = b->total_bytes - b->used_bytes - bytes;

	return s->used_bytes + bytes <= limit_bytes && s->used_bytes + bytes <= left_bytes;
}

void window_budget_charge(struct window_budget *b, struct window_share *s, int64_t *charged_bytes,
			  int64_t bytes)
{
	b->used_bytes += bytes - *charged_bytes;
	s->used_bytes += bytes - *charged_bytes;
	*charged_bytes = bytes;
	CHECK(b->used_bytes >= 0 && s->used_bytes >= 0);
}
