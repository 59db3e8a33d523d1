/* broker/deadline.h - Lists of deadlines. Each list holds one kind of wait, nearly always of the same
 * length, so that a new entry belongs at the tail and both setting and expiring cost O(1). */
#ifndef PIPEGATE_DEADLINE_H
#define PIPEGATE_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct deadline {
	TAILQ_ENTRY(deadline) link;
	int64_t at_ms; /* monotonic; 0: not set */
};

TAILQ_HEAD(deadlines, deadline);

static inline void deadline_clear(struct deadlines *list, struct deadline *d)
{
	if (d->at_ms != 0)
		TAILQ_REMOVE(list, d, link);
	d->at_ms = 0;
}

/* at_ms > 0. Moves an entry that is set already. */
static inline void deadline_set(struct deadlines *list, struct deadline *d, int64_t at_ms)
{
	deadline_clear(list, d);
	d->at_ms = at_ms;
	struct deadline *before = TAILQ_LAST(list, deadlines);
	while (before != NULL && before->at_ms > at_ms)
		before = TAILQ_PREV(before, deadlines, link);
	if (before != NULL)
		TAILQ_INSERT_AFTER(list, before, d, link);
	else
		TAILQ_INSERT_HEAD(list, d, link);
}

/* The first entry if it is due, taken off its list; NULL otherwise. */
static inline struct deadline *deadline_take_due(struct deadlines *list, int64_t now_ms)
{
	struct deadline *d = TAILQ_FIRST(list);

	if (d == NULL || d->at_ms > now_ms)
		return NULL;
	deadline_clear(list, d);
	return d;
}

#define OWNER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
