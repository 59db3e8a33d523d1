/* broker/core/deadline.c - see deadline.h. */
#include "broker/core/deadline.h"

#include "common/check.h"

#include <stdlib.h>

enum { LEAST_ROOM = 64 };

static void put(struct deadlines *list, size_t place, struct deadline *d)
{
	list->heap[place] = d;
	d->place = place;
}

/* Moves `d` from `place` towards the root until its parent is not later. */
static void rise(struct deadlines *list, size_t place, struct deadline *d)
{
	while (place > 0) {
		size_t parent = (place - 1) / 2;
		if (list->heap[parent]->at_ms <= d->at_ms)
			break;
		put(list, place, list->heap[parent]);
		place = parent;
	}
	put(list, place, d);
}

/* Moves `d` from `place` towards the leaves until no child is sooner. */
static void sink(struct deadlines *list, size_t place, struct deadline *d)
{
	for (;;) {
		size_t child = 2 * place + 1;
		if (child + 1 < list->count &&
		    list->heap[child + 1]->at_ms < list->heap[child]->at_ms)
			child++;
		if (child >= list->count || list->heap[child]->at_ms >= d->at_ms)
			break;
		put(list, place, list->heap[child]);
		place = child;
	}
	put(list, place, d);
}

void deadline_clear(struct deadlines *list, struct deadline *d)
{
	if (d->at_ms == 0)
		return;
	CHECK(d->place < list->count && list->heap[d->place] == d);
	struct deadline *last = list->heap[--list->count];
	if (last != d && last->at_ms < d->at_ms)
		rise(list, d->place, last);
	else if (last != d)
		sink(list, d->place, last);
	d->at_ms = 0;
}

void deadline_set(struct deadlines *list, struct deadline *d, int64_t at_ms)
{
	CHECK(at_ms > 0);
	if (d->at_ms == 0) {
		if (list->count == list->room) {
			list->room = list->room > 0 ? 2 * list->room : LEAST_ROOM;
			list->heap = xrealloc(list->heap, list->room * sizeof(struct deadline *));
		}
		d->at_ms = at_ms;
		rise(list, list->count++, d);
		return;
	}
	CHECK(d->place < list->count && list->heap[d->place] == d);
	int64_t before_ms = d->at_ms;
	d->at_ms = at_ms;
	if (at_ms < before_ms)
		rise(list, d->place, d);
	else
		sink(list, d->place, d);
}

struct deadline *deadline_first(const struct deadlines *list)
{
	return list->count > 0 ? list->heap[0] : NULL;
}

struct deadline *deadline_take_due(struct deadlines *list, int64_t now_ms)
{
	struct deadline *d = deadline_first(list);

	if (d == NULL || d->at_ms > now_ms)
		return NULL;
	deadline_clear(list, d);
	return d;
}

void deadlines_fini(struct deadlines *list)
{
	free(list->heap);
	*list = (struct deadlines){0};
}
