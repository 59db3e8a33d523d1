/* client/wake_clock.h - Notices that the machine was suspended: monotonic clocks stand still then,
 * but for CLOCK_BOOTTIME. */
#ifndef PIPEGATE_WAKE_CLOCK_H
#define PIPEGATE_WAKE_CLOCK_H

#include <stdint.h>

struct wake_clock {
	int64_t ahead_ms; /* of CLOCK_BOOTTIME before CLOCK_MONOTONIC */
};

void wake_clock_init(struct wake_clock *c);

/* For how long the machine was suspended since the last call; 0 for less than three seconds. */
int64_t wake_clock_slept_ms(struct wake_clock *c);

#endif
