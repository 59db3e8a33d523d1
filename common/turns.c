/* common/turns.c - see turns.h. */
#include "common/turns.h"

void turns_init(struct turns *all)
{
	TAILQ_INIT(&all->ahead);
	TAILQ_INIT(&all->again);
	all->ahead_bytes = 0;
}

static void insert(struct turn_list *list, struct turn *t)
{
	TAILQ_INSERT_TAIL(list, t, link);
	t->list = list;
}

void turns_add(struct turns *all, struct turn *t)
{
	if (t->list == NULL)
		insert(&all->ahead, t);
}

void turns_remove(struct turn *t)
{
	if (t->list != NULL)
		TAILQ_REMOVE(t->list, t, link);
	t->list = NULL;
}

struct turn *turns_next(const struct turns *all)
{
	struct turn *ahead = TAILQ_FIRST(&all->ahead), *again = TAILQ_FIRST(&all->again);

	if (again != NULL && (ahead == NULL || all->ahead_bytes >= TURNS_AHEAD_BYTES))
		return again;
	return ahead;
}

void turns_sent(struct turns *all, struct turn *t, size_t bytes, bool has_more)
{
	bool passes = t->list == &all->ahead && !TAILQ_EMPTY(&all->again);

	all->ahead_bytes = passes ? all->ahead_bytes + bytes : 0;
	turns_remove(t);
	if (has_more)
		insert(&all->again, t);
}
