/* broker/receive_buffers.h - The allocator that libwebsockets uses: its receive buffers lie in
 * slots of their own (broker/slab.h), everything else on the heap.
 *
 * There is one for the process, since libwebsockets gives its allocator no context. */
#ifndef PIPEGATE_RECEIVE_BUFFERS_H
#define PIPEGATE_RECEIVE_BUFFERS_H

#include <stddef.h>

/* `bytes`: the size of a receive buffer. Without address space for the slots, all blocks come
 * from the heap. */
void receive_buffers_init(size_t bytes);
void receive_buffers_fini(void);

/* For lws_set_allocator(): as realloc(); with 0 bytes as free(). */
void *receive_buffers_allocate(void *old, size_t bytes, const char *reason);

/* The receive buffer that `at` lies in holds nothing that is needed. Does nothing for NULL. */
void receive_buffers_wipe(const void *at);

#endif
