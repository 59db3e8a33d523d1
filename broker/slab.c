/* broker/slab.c - see slab.h. */
#include "broker/slab.h"

#include "common/check.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct slab {
	uint8_t *at;
	size_t slot_bytes; /* whole pages */
	size_t count;
	size_t used; /* slots from this number on were never allocated */
	/* The numbers of freed slots, as a stack: reusing the last one keeps few pages in use. */
	uint32_t *free;
	size_t free_count;
};

struct slab *slab_new(size_t slot_bytes, size_t count)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

	CHECK(slot_bytes > 0 && count > 0 && count <= UINT32_MAX);
	slot_bytes = (slot_bytes + page_bytes - 1) / page_bytes * page_bytes;
	if (count > SIZE_MAX / slot_bytes)
		return NULL;
	void *at = mmap(NULL, slot_bytes * count, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	struct slab *s = xcalloc(1, sizeof *s);
	s->at = at;
	s->slot_bytes = slot_bytes;
	s->count = count;
	s->free = xcalloc(count, sizeof *s->free);
	return s;
}

void slab_destroy(struct slab **sp)
{
	struct slab *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	munmap(s->at, s->slot_bytes * s->count);
	free(s->free);
	free(s);
}

void *slab_alloc(struct slab *s)
{
	if (s->free_count > 0)
		return s->at + s->free[--s->free_count] * s->slot_bytes;
	return s->used < s->count ? s->at + s->used++ * s->slot_bytes : NULL;
}

bool slab_owns(const struct slab *s, const void *at)
{
	uintptr_t first = (uintptr_t)s->at, address = (uintptr_t)at;

	return address >= first && address - first < s->slot_bytes * s->count;
}

void slab_free(struct slab *s, void *slot)
{
	size_t offset = (size_t)((uint8_t *)slot - s->at);

	CHECK(slab_owns(s, slot) && offset % s->slot_bytes == 0 && s->free_count < s->used);
	(void)madvise(slot, s->slot_bytes, MADV_DONTNEED);
	s->free[s->free_count++] = (uint32_t)(offset / s->slot_bytes);
}

void slab_wipe(struct slab *s, const void *at)
{
	if (!slab_owns(s, at))
		return;
	size_t offset = (size_t)((const uint8_t *)at - s->at);
	(void)madvise(s->at + offset / s->slot_bytes * s->slot_bytes, s->slot_bytes, MADV_DONTNEED);
}
