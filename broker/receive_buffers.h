/* broker/receive_buffers.h - The allocator for libwebsockets: its receive buffers are in a slab
 * (broker/slab.h), all other blocks on the heap.
 *
 * It is global, because libwebsockets passes no context to its allocator. */
#ifndef PIPEGATE_RECEIVE_BUFFERS_H
#define PIPEGATE_RECEIVE_BUFFERS_H

#include <stddef.h>

/* `bytes`: the size of a receive buffer. If there is no address space for the slab, all blocks
 * are on the heap. */
void receive_buffers_init(size_t bytes);
void receive_buffers_fini(void);

/* For lws_set_allocator(). Works as realloc(), and with 0 bytes as free(). */
void *receive_buffers_allocate(void *old, size_t bytes, const char *reason);

/* Returns the memory of the receive buffer around `at`, whose content is lost. Does nothing for
 * NULL or another address. */
void receive_buffers_wipe(const void *at);

#endif
