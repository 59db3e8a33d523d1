/* broker/core/deadline.h - Deadlines, the soonest first: a binary heap of what other structs
 * embed.
 *
 * Setting, moving and clearing cost O(log n), whatever lengths of time are mixed; the soonest is
 * known at once. Peers choose how many deadlines there are and how long (holds, silences, lives
 * of tokens). */
#ifndef PIPEGATE_DEADLINE_H
#define PIPEGATE_DEADLINE_H

#include "common/owner.h"

#include <stddef.h>
#include <stdint.h>

/* Embedded by its owner; zero: not set. */
struct deadline {
	int64_t at_ms; /* monotonic; 0: not set */
	size_t place;  /* in the heap, while it is set */
};

/* Zero: empty. */
struct deadlines {
	struct deadline **heap;
	size_t count, room;
};

void deadline_clear(struct deadlines *list, struct deadline *d); /* nothing where it is not set */

/* at_ms > 0. Moves a deadline that is set already. */
void deadline_set(struct deadlines *list, struct deadline *d, int64_t at_ms);

/* The soonest; NULL: none is set. */
struct deadline *deadline_first(const struct deadlines *list);

/* The soonest if it is due, cleared; NULL otherwise. */
struct deadline *deadline_take_due(struct deadlines *list, int64_t now_ms);

void deadlines_fini(struct deadlines *list); /* those that are still set are forgotten */

#endif
