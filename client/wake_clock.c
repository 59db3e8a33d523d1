/* client/wake_clock.c - see wake_clock.h. */
#include "client/wake_clock.h"

#include <time.h>

enum { GAP_MS = 3000 };

static int64_t ahead_ms(void)
{
	struct timespec with, without;

	clock_gettime(CLOCK_MONOTONIC, &without);
	clock_gettime(CLOCK_BOOTTIME, &with);
	return (int64_t)(with.tv_sec - without.tv_sec) * 1000 +
	       (with.tv_nsec - without.tv_nsec) / 1000000;
}

void wake_clock_init(struct wake_clock *c)
{
	c->ahead_ms = ahead_ms();
}

int64_t wake_clock_slept_ms(struct wake_clock *c)
{
	int64_t before_ms = c->ahead_ms;

	wake_clock_init(c);
	return c->ahead_ms - before_ms >= GAP_MS ? c->ahead_ms - before_ms : 0;
}
