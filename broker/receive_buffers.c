/* broker/receive_buffers.c - see receive_buffers.h. */
#include "broker/receive_buffers.h"

#include "broker/slots.h"
#include "common/check.h"

#include <stdlib.h>
#include <string.h>

enum {
	BUFFERS_MAX = 65536, /* further ones come from the heap */
};

static struct slots *slots; /* NULL: there was no address space for it */
static size_t buffer_bytes;

void receive_buffers_init(size_t bytes)
{
	slots = slots_new(bytes, BUFFERS_MAX);
	buffer_bytes = bytes;
}

void receive_buffers_fini(void)
{
	slots_destroy(&slots);
}

void *receive_buffers_allocate(void *old, size_t bytes, const char *reason)
{
	if (slots != NULL && old == NULL && bytes <= buffer_bytes &&
	    strcmp(reason, "rx_ubuf") == 0) {
		void *slot = slots_take(slots);
		if (slot != NULL)
			return slot;
	}
	if (slots != NULL && old != NULL && slots_has(slots, old)) {
		CHECK(bytes == 0); /* libwebsockets never grows one */
		slots_give(slots, old);
		return NULL;
	}
	if (bytes > 0)
		return realloc(old, bytes);
	free(old);
	return NULL;
}

void receive_buffers_wipe(const void *at)
{
	if (slots != NULL && at != NULL)
		slots_wipe(slots, at);
}
