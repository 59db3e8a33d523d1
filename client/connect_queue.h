/* client/connect_queue.h - Limits how many attempts to connect to the app run concurrently, for
 * requests and WebSockets together. Further ones wait in order of arrival. */
#ifndef PIPEGATE_CONNECT_QUEUE_H
#define PIPEGATE_CONNECT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum {
	CONNECT_QUEUE_ATTEMPTS_MAX = 128,
	CONNECT_QUEUE_WAIT_MS = 10000, /* until the attempt starts; then `expired` is called */
};

struct connect_queue;

/* Called from the loop, never from within a call to the queue. */
struct connect_events {
	/* Continues without an attempt, if possible. Returns true after calling
	 * connect_queue_leave(). NULL: never possible. */
	bool (*reuse)(void *ctx);
	/* Starts the attempt. Call connect_queue_leave() as soon as it has succeeded or failed. */
	void (*connect)(void *ctx);
	/* The entry has waited too long and has left the queue. */
	void (*expired)(void *ctx);
};

/* Embedded in the object that waits. Zero-initialise; private. */
struct connect_entry {
	TAILQ_ENTRY(connect_entry) link;
	struct connect_queue *queue;
	const struct connect_events *events;
	void *ctx;
	uint64_t since_ms;
	enum { CONNECT_OUT, CONNECT_WAITING, CONNECT_ATTEMPT } state;
};

struct connect_queue *connect_queue_new(uv_loop_t *loop);
/* Call after the last entry has left. Run the loop once more after it. */
void connect_queue_destroy(struct connect_queue **qp);

/* The first events are called in the next turn of the loop. */
void connect_queue_join(struct connect_queue *q, struct connect_entry *e,
			const struct connect_events *events, void *ctx);
void connect_queue_leave(struct connect_entry *e); /* in any state */

#endif
