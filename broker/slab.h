/* broker/slab.h - Allocates blocks of one size that use memory only where they were written.
 *
 * libwebsockets allocates a receive buffer of 64 KiB for each WebSocket, and writes nothing to
 * it but the payload of Pings, Pongs and Closes. On the heap, such a buffer separates the small
 * blocks before it from those behind it, so each idle tunnel keeps two half-used pages. A slab
 * puts these buffers on pages of their own, and pages that were never written use no memory. */
#ifndef PIPEGATE_SLAB_H
#define PIPEGATE_SLAB_H

#include <stdbool.h>
#include <stddef.h>

struct slab;

/* Reserves address space, but no memory. NULL: there is not enough address space. */
struct slab *slab_new(size_t slot_bytes, size_t count);
/* Frees all slots, used ones too. *sp may be NULL. */
void slab_destroy(struct slab **sp);

/* Returns a slot, aligned like a block of malloc(). NULL: all are in use. */
void *slab_alloc(struct slab *s);

/* True if `at` is in one of the slots. */
bool slab_owns(const struct slab *s, const void *at);

/* Frees a slot and returns its memory to the kernel. */
void slab_free(struct slab *s, void *slot);

/* Returns the memory of the slot around `at` to the kernel; the slot stays allocated, and its
 * content is lost. Does nothing if `at` is in no slot. */
void slab_wipe(struct slab *s, const void *at);

#endif
