/* common/turns.h - Whose frame goes next on a tunnel, at both ends. Pure.
 *
 * Streams take turns, a frame each. One that had nothing to send until now goes ahead of those that
 * wait again after their last frame: a small response does not wait for a frame of each download
 * beside it. (RFC 8290, section 4.1, does the same with packets.) Those that wait again keep a
 * share: at most TURNS_AHEAD_BYTES pass them before one of their frames. */
#ifndef PIPEGATE_TURNS_H
#define PIPEGATE_TURNS_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

enum { TURNS_AHEAD_BYTES = 64 * 1024 };

TAILQ_HEAD(turn_list, turn);

/* Embedded by a stream; zero: not in a queue. Private to turns.c. */
struct turn {
	TAILQ_ENTRY(turn) link;
	struct turn_list *list;
};

/* Initialise with turns_init(). Private to turns.c. */
struct turns {
	struct turn_list ahead, again;
	size_t ahead_bytes; /* have passed the first of `again` */
};

void turns_init(struct turns *all);

/* The stream has something to send. Nothing happens if it waits already. */
void turns_add(struct turns *all, struct turn *t);
void turns_remove(struct turn *t); /* has nothing any more, or never had */

/* The next one, which stays where it is. NULL: none. */
struct turn *turns_next(const struct turns *all);

/* The next one has sent a frame of `bytes`, and leaves; or it waits again if it has more. */
void turns_sent(struct turns *all, struct turn *t, size_t bytes, bool has_more);

#endif
