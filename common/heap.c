/* common/heap.c - see heap.h. */
#include "common/heap.h"

#include <malloc.h>

enum {
	MMAP_FROM_BYTES = 1024 * 1024,
	TRIM_FROM_BYTES = 4 * 1024 * 1024,
};

void heap_init(void)
{
	/* By default glibc raises both after the first free() of a large block, and then blocks of
	 * up to 32 MiB stay on the heap, below small ones that keep their memory. */
	mallopt(M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
	mallopt(M_TRIM_THRESHOLD, TRIM_FROM_BYTES);
}
