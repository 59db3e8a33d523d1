/* broker/slab.h - Blocks of one size that cost memory only where they have been written to.
 *
 * libwebsockets has a receive buffer of 64 KiB for each WebSocket, and writes nothing to it but
 * the payload of Pings, Pongs and Closes. On the heap those buffers keep apart what is small and
 * used: each idle tunnel then has two half empty pages. Here they are on pages of their own, and
 * untouched ones are none. */
#ifndef PIPEGATE_SLAB_H
#define PIPEGATE_SLAB_H

#include <stdbool.h>
#include <stddef.h>

struct slab;

/* Takes address space, no memory. NULL: there is not so much of it. */
struct slab *slab_new(size_t slot_bytes, size_t count);
void slab_destroy(struct slab **sp); /* NULL is fine; whatever was taken is gone */

void *slab_alloc(struct slab *s); /* aligned as by malloc(); NULL: all are taken */
bool slab_owns(const struct slab *s, const void *slot);
void slab_free(struct slab *s, void *slot); /* one that slab_alloc() gave; its memory goes back */

/* What was written to the slot that `at` lies in is not needed any more: its memory goes back.
 * Nothing where `at` is elsewhere. */
void slab_wipe(struct slab *s, const void *at);

#endif
