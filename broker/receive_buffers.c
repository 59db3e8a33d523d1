/* broker/receive_buffers.c - see receive_buffers.h. */
#include "broker/receive_buffers.h"

#include "broker/slab.h"
#include "common/check.h"

#include <stdlib.h>
#include <string.h>

enum {
	BUFFERS_MAX = 65536, /* further ones are on the heap */
};

static struct slab *slab; /* NULL: no address space */
static size_t buffer_bytes;

void receive_buffers_init(size_t bytes)
{
	slab = slab_new(bytes, BUFFERS_MAX);
	buffer_bytes = bytes;
}

void receive_buffers_fini(void)
{
	slab_destroy(&slab);
}

void *receive_buffers_allocate(void *old, size_t bytes, const char *reason)
{
	if (slab != NULL && old == NULL && bytes <= buffer_bytes &&
	    strcmp(reason, "rx_ubuf") == 0) {
		void *slot = slab_alloc(slab);
		if (slot != NULL)
			return slot;
	}
	if (slab != NULL && old != NULL && slab_owns(slab, old)) {
		CHECK(bytes == 0); /* libwebsockets never resizes one */
		slab_free(slab, old);
		return NULL;
	}
	if (bytes > 0)
		return realloc(old, bytes);
	free(old);
	return NULL;
}

void receive_buffers_wipe(const void *at)
{
	if (slab != NULL && at != NULL)
		slab_wipe(slab, at);
}
