/* fcgi/event_source.h - What a descriptor in the epoll set is for. The data of each epoll event
 * points to one of these, so that the loop needs to know no descriptor of its own. */
#ifndef PIPEGATE_EVENT_SOURCE_H
#define PIPEGATE_EVENT_SOURCE_H

#include <stdint.h>

struct event_source {
	/* `events` are epoll's. `self` identifies the source among several with the same
	 * handler. */
	void (*on_event)(void *ctx, struct event_source *self, uint32_t events);
	void *ctx;
};

#endif
