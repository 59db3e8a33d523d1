/* common/heap.h - How the C library's heap keeps memory, the same in each program. */
#ifndef PIPEGATE_HEAP_H
#define PIPEGATE_HEAP_H

/* Call it first in main(). Buffers of up to 1 MiB keep their pages from one piece of a body to the
 * next, where each would cost page faults; larger ones return to the kernel when they are freed,
 * and grow without a copy. What is free at the top of the heap, beyond 4 MiB, returns too. */
void heap_init(void);

#endif
