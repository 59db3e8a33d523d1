/* broker/core/core.h - The innards of the hub, for the files of broker/core/ and their tests. */
#ifndef PIPEGATE_CORE_H
#define PIPEGATE_CORE_H

#include "broker/core/budget.h"
#include "broker/core/exchange.h"
#include "broker/core/group.h"
#include "broker/core/hub.h"
#include "broker/core/protocol.h"
#include "common/frame.h"

struct process; /* hub.c */
struct socket;	/* group.c */

struct hub {
	const struct config *config;
	struct stats stats;
	struct window_budget windows; /* PIPEGATE_BUFFER_BYTES */
	uint64_t boot;
	int64_t now_ms; /* hub_set_now() */
	int64_t started_ms;
	uint64_t turn; /* of the loop; counted by hub_settle() */
	bool draining;
	struct presence_observer *observer; /* NULL: none */

	struct exchange *exchanges;
	struct group *groups;
	TAILQ_HEAD(, group) idle_groups; /* never seen ones, then by age */
	size_t idle_group_count;
	size_t unseen_queued; /* queued for unknown ids, summed */
	struct tunnel_list tunnels;
	struct exchange_list dirty;
	struct tunnel_list dirty_tunnels;
	TAILQ_HEAD(, group) dirty_groups;
	struct tunnel_list dead_tunnels;
	struct process *processes;
	struct socket *sockets;		   /* by corr */
	TAILQ_HEAD(, group) marked_groups; /* for throttle_settle() */
	struct deadlines holds, gathers, response_waits, idle_waits, offline_waits;
	struct deadlines lives, messages, stalls; /* of tunnels; the latter two: see budget.c */
};

/* --- requester.c --- */
void requester_open(struct hub *h, const struct reply_to *to, const struct gate_msg *m);
void requester_step(struct exchange *x, const struct reply_to *to, const struct gate_msg *m);
/* Replies if there is something to say; may free the exchange. */
void requester_settle(struct exchange *x);
void requester_free_all(struct hub *h);
/* Replies to a message that names no exchange, and refuses an OPEN. */
void requester_reply(const struct hub *h, const struct reply_to *to, struct gate_msg *m);
void requester_refuse(struct hub *h, const struct reply_to *to, const struct gate_msg *m,
		      enum fail f);

#endif
