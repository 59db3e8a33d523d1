/* broker/core/group.h - One connection id: its tunnels and the requests that wait for one of
 * them. Private to broker/core/. */
#ifndef PIPEGATE_GROUP_H
#define PIPEGATE_GROUP_H

#include "broker/core/protocol.h"
#include "common/window_budget.h"

struct group {
	UT_hash_handle hh;
	struct hub *hub;
	char id[CONNECTION_ID_MAX_BYTES + 1];
	struct tunnel_list tunnels; /* the next to be used first */
	size_t tunnel_count;
	struct tunnel_list greeting; /* not open yet, the oldest first */
	size_t greeting_count;
	size_t closing_count; /* dead ones whose socket is still open */
	struct exchange_list queue;
	size_t queued, queued_websockets; /* the latter are part of the former */
	size_t sockets;	 /* callers' WebSockets that were assigned and are not closed */
	bool online;	 /* what the presence observer was told */
	bool seen;	 /* had a tunnel: requests may wait */
	bool had_tunnel; /* one that was open */
	TAILQ_ENTRY(group) dirty_link; /* hub->dirty_groups: dispatch it */
	bool dirty;
	TAILQ_ENTRY(group) idle_link; /* hub->idle_groups: unused */
	bool idle;
	size_t users;	   /* exchanges and tunnels whose home it is */
	size_t websockets; /* callers' WebSockets among them */

	/* budget.c */
	size_t held_bytes;
	uint64_t turn;	  /* of the loop, that turn_cost is of */
	size_t turn_cost; /* see budget_spend() */
	bool full;
	struct tunnel *reader; /* read although the budget is full */
	struct window_share windows;
	TAILQ_ENTRY(group) marked_link;
	bool marked;
};

struct group *group_find(struct hub *h, const char *id, size_t bytes);
struct group *group_get(struct hub *h, const char *id, size_t bytes); /* made if missing */

/* Assigns a new exchange to a tunnel or queues it. A failure says why not, and nothing has
 * changed. */
enum fail group_accept(struct group *g, struct exchange *x) MUST_CHECK;
/* A tunnel with a valid token is about to open: requests may wait for it. */
void group_expect_tunnel(struct group *g);
/* Marks the group: waiting exchanges may find room. */
void group_touch(struct group *g);
void group_settle(struct hub *h); /* dispatches the marked groups */
void group_hold(struct group *g); /* an exchange or tunnel uses it */
void group_release(struct group *g);
void group_free_all(struct hub *h);
/* A tunnel opened, or accepts nothing new: tells the presence observer. Queued requests have a
 * deadline only while no tunnel is open. */
void group_review_presence(struct group *g);
/* Puts an exchange that a tunnel returned at the front of the queue. */
void group_return(struct group *g, struct exchange *x);

/* group_tunnel.c */
struct tunnel *group_tunnel_open(struct hub *h, const struct tunnel_start *start);
void group_tunnel_free(struct tunnel *t); /* dead and closed */

/* A caller's WebSocket counts for the limit of its id from the time that a tunnel takes it until
 * its socket is closed, which may be long after the end of the exchange: a caller need not read. */
void group_socket_closed(struct hub *h, const uint8_t corr[CORR_BYTES]); /* nothing if unknown */
void group_socket_unsent(struct hub *h, const uint8_t corr[CORR_BYTES], size_t bytes);
void group_forget_idle(struct hub *h); /* never seen ones, and the oldest over the limit */

#endif
