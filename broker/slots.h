/* broker/slots.h - Blocks of one size that cost memory only where they have been written to.
 *
 * libwebsockets has a receive buffer of 64 KiB for each WebSocket, and writes nothing to it but the payload
 * of Pings, Pongs and Closes. On the heap those buffers keep apart what is small and used: each idle
 * tunnel then has two half empty pages. Here they are on pages of their own, and untouched ones are none. */
#ifndef PIPEGATE_SLOTS_H
#define PIPEGATE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>

struct slots;

/* Takes address space, no memory. NULL: there is not so much of it. */
struct slots *slots_new(size_t slot_bytes, size_t count);
void slots_destroy(struct slots **sp); /* NULL is fine; whatever was taken is gone */

void *slots_take(struct slots *s); /* aligned as by malloc(); NULL: all are taken */
bool slots_has(const struct slots *s, const void *slot);
void slots_give(struct slots *s, void *slot); /* one that slots_take() gave; its memory goes back */

/* What was written to the slot that `at` lies in is not needed any more: its memory goes back. Nothing
 * where `at` is elsewhere. */
void slots_wipe(struct slots *s, const void *at);

#endif
