/* client/connect_queue.h - Limits how many attempts to connect to the app run concurrently, for requests and WebSockets
 * together, and keeps those that have to wait in their order. */
#ifndef PIPEGATE_CONNECT_QUEUE_H
#define PIPEGATE_CONNECT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum {
	CONNECT_QUEUE_ATTEMPTS_MAX = 128,
	CONNECT_QUEUE_WAIT_MS = 10000, /* for an attempt to begin; then `expired` */
};

struct connect_queue;

/* From the loop, never from within a call to the queue. */
struct connect_events {
	/* Goes on without an attempt, if possible: true, after connect_queue_leave(). NULL: it never is. */
	bool (*reuse)(void *ctx);
	/* Starts the attempt. Call connect_queue_leave() as soon as it has succeeded or failed. */
	void (*connect)(void *ctx);
	/* It waited for too long, and has left the queue. */
	void (*expired)(void *ctx);
};

/* A member of its user's object. Zero-initialise; private. */
struct connect_entry {
	TAILQ_ENTRY(connect_entry) link;
	struct connect_queue *queue;
	const struct connect_events *events;
	void *ctx;
	uint64_t since_ms;
	enum { CONNECT_OUT, CONNECT_WAITING, CONNECT_ATTEMPT } state;
};

struct connect_queue *connect_queue_new(uv_loop_t *loop);
/* Call after the last entry has left; the loop must run once more after it. */
void connect_queue_destroy(struct connect_queue **qp);

/* The first events come at the next turn of the loop. */
void connect_queue_join(struct connect_queue *q, struct connect_entry *e,
			const struct connect_events *events, void *ctx);
void connect_queue_leave(struct connect_entry *e); /* in any state */

#endif
