/* client/wake_clock.h - Detects that the machine was suspended: CLOCK_MONOTONIC stops then,
 * CLOCK_BOOTTIME does not. */
#ifndef PIPEGATE_WAKE_CLOCK_H
#define PIPEGATE_WAKE_CLOCK_H

#include <stdint.h>

struct wake_clock {
	int64_t ahead_ms; /* CLOCK_BOOTTIME minus CLOCK_MONOTONIC */
};

void wake_clock_init(struct wake_clock *c);

/* How long the machine was suspended since the last call; 0 if less than three seconds. */
int64_t wake_clock_slept_ms(struct wake_clock *c);

#endif
