/* broker/core/hub.h - The broker's core: exchanges between responders (gate) and tunnels.
 *
 * An exchange is one public request and its answer: a request body stream up, a response head and
 * body stream down, one responder on one side, at most one tunnel on the other, and exactly one end.
 *
 *   gate OPEN -> [queued at its group] -> [on a tunnel] -> head, body -> ended -> reply fetched, freed
 *                      ^    (tunnel lost before a byte went) |
 *                      `-------------------------------------'
 *
 * Knows no ZeroMQ, libwebsockets, JSON or libuv, and asks for no time: pure C, for unit tests. Nothing
 * is freed inside a callback: functions mark exchanges and tunnels as dirty, hub_settle() does the
 * rest once per turn of the loop, so that what came in one turn goes out in one message.
 *
 * This file is shared by hub.c, exchange.c, group.c, budget.c, tunnel.c, v1.c, v2.c; others use hub_*(). */
#ifndef PIPEGATE_HUB_H
#define PIPEGATE_HUB_H

#include "broker/config.h"
#include "broker/core/deadline.h"
#include "broker/core/exchange_log.h"
#include "broker/core/stats.h"
#include "common/buf.h"
#include "common/flow.h"
#include "common/frame.h"
#include "common/gate_msg.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

/* The way back to one waiting worker: ZeroMQ envelope frames, opaque here. */
struct gate_peer {
	uint8_t parts;
	uint8_t part_bytes[4];
	uint8_t data[128];
};

/* What the hub needs from outside. */
struct hub_io {
	void *ctx;
	/* Sends one reply. False: that worker is gone, or reads nothing. Borrows all. */
	bool (*reply)(void *ctx, const struct gate_peer *peer, const struct gate_msg *m);
};

struct tunnel;
struct group;
struct hub;

struct exchange {
	UT_hash_handle hh; /* hub->exchanges, by corr */
	uint8_t corr[CORR_BYTES];
	struct hub *hub;
	uint64_t process; /* of the responder; 0: ours, see ws_relay.h */
	bool websocket;	  /* a caller's: has no end of its own, so it is counted apart */
	int64_t opened_ms;
	struct exchange_log log;

	/* Request. */
	struct buf head;	  /* emptied once it went down the tunnel */
	enum fail v1_refusal;	  /* judged once: a queue is looked through again and again */
	bool is_head;		  /* v1, once it is gone: its method was HEAD */
	struct buf up;		  /* body bytes not yet gone down */
	size_t granted_bytes;	  /* the last reply allowed so many more, and they are charged */
	bool up_end;		  /* `up` holds the last of it */
	bool up_end_sent;	  /* and that went down too */
	int64_t up_bytes;	  /* came so far */
	int64_t body_total_bytes; /* declared; -1: unknown */

	/* Response. */
	struct buf answer_head; /* not yet given to the responder */
	struct buf down;	/* body bytes not yet given */
	bool head_came, head_given;
	bool down_end; /* `down` holds the last of it */

	/* The end, if it is a bad one. */
	bool failed;
	enum fail fail;
	bool sent;	      /* a byte of it went down a tunnel */
	bool surely_unserved; /* the client said that the app never saw it */
	bool refused;	      /* never accepted: neither queued nor given to a tunnel */
	bool gone;	      /* nobody will ask for it: hub_settle() frees it */

	/* Where it is. */
	struct group *home;    /* its connection id */
	size_t held_bytes;     /* what `home` is charged for it */
	size_t unsent_bytes;   /* the responder holds so much of the response: see ws_relay.h */
	struct group *group;   /* while queued */
	struct tunnel *tunnel; /* NULL: queued, or over on the tunnel side */
	bool answered;	       /* over on the stream; counts as running until the caller has it */
	TAILQ_ENTRY(exchange) place; /* group->queue or tunnel->running */
	bool queued;
	TAILQ_ENTRY(exchange) ready_link; /* tunnel->ready: has something to go down now */
	bool ready;
	TAILQ_ENTRY(exchange) dirty_link; /* hub->dirty */
	bool dirty;

	/* v2 stream. */
	UT_hash_handle stream_hh; /* tunnel->streams */
	uint32_t stream;
	struct flow flow;

	/* The waiting responder. */
	bool reply_due;
	bool wants_credit;   /* the reply goes out as soon as there is credit */
	bool gave_no_credit; /* the last reply said 0 */
	bool hold_over;
	struct gate_peer peer;
	struct deadline hold;		 /* reply_due: an empty reply goes out then */
	struct deadline progress;	 /* response time-out, then idle time-out */
	struct deadlines *progress_list; /* the one that `progress` is on */
	struct deadline offline;	 /* queued without a tunnel */
};

TAILQ_HEAD(exchange_list, exchange);
TAILQ_HEAD(tunnel_list, tunnel);

/* One connection id: its tunnels and the requests that wait for one of them. */
struct group {
	UT_hash_handle hh;
	struct hub *hub;
	char id[CONNECTION_ID_MAX_BYTES + 1];
	struct tunnel_list tunnels; /* in the order of their next turn */
	size_t tunnel_count;
	struct tunnel_list greeting; /* those that are not open yet, the oldest first */
	size_t greeting_count;
	size_t closing_count; /* closed ones whose socket is still there */
	struct exchange_list queue;
	size_t queued, queued_websockets; /* the latter among the former */
	size_t sockets; /* callers' WebSockets that a tunnel took, and that are not closed yet */
	bool seen;	/* had a tunnel once: worth waiting for */
	bool dispatching;
	TAILQ_ENTRY(group) idle_link; /* hub->idle_groups: nothing refers to it */
	bool idle;
	size_t users;	   /* exchanges and tunnels whose home it is */
	size_t websockets; /* callers' ones, among them */

	/* budget.c */
	size_t held_bytes;
	uint64_t turn;	  /* of the loop, in which `turn_cost` was spent */
	size_t turn_cost; /* see budget_spend() */
	bool full;
	struct tunnel *reader; /* the one that is read although the budget is full */
	TAILQ_ENTRY(group) marked_link;
	bool marked;
};

struct process; /* hub.c */
struct socket;	/* group.c */

enum {
	FRAME_REQUEST_HEAD_MAX_BYTES = 96 * 1024, /* leaves room in a frame */
	BUDGET_MESSAGE_BYTES = 16 * 1024 * 1024,  /* the largest message of any client */
};

struct hub {
	const struct config *config;
	struct hub_io io;
	struct stats stats;
	uint64_t boot;
	int64_t now_ms; /* set by the callers of hub_*() through hub_set_now() */
	int64_t started_ms;
	uint64_t turn; /* of the loop; counted by hub_settle() */
	bool draining;

	struct exchange *exchanges;
	struct group *groups;
	TAILQ_HEAD(, group) idle_groups; /* never seen ones first, then the longest idle */
	size_t idle_group_count;
	size_t unseen_queued; /* exchanges queued for ids never seen, all together */
	struct tunnel_list tunnels;
	struct exchange_list dirty;
	struct tunnel_list dirty_tunnels;
	struct tunnel_list dead_tunnels;
	struct process *processes;
	struct socket *sockets;		   /* by corr */
	TAILQ_HEAD(, group) marked_groups; /* budget_settle() must look at them */
	struct deadlines holds, response_waits, idle_waits, offline_waits;
	struct deadlines lives, messages, stalls; /* of tunnels; the latter two: see budget.c */
};

void hub_init(struct hub *h, const struct config *config, const struct hub_io *io, int64_t now_ms);
void hub_fini(struct hub *h); /* all tunnels must be closed */

/* Each turn of the loop: hub_set_now(), then events, then hub_settle(). */
void hub_set_now(struct hub *h, int64_t now_ms);
void hub_on_gate(struct hub *h, const struct gate_peer *peer, const struct gate_msg *m);
/* Deadlines: at least each 250 ms while hub_busy(), else each second. Judges peers by what they have sent, so
 * what has arrived from them has to be taken in before. */
void hub_tick(struct hub *h);
void hub_settle(struct hub *h); /* replies, writes, frees */

bool hub_busy(const struct hub *h);    /* any exchange in the table */
void hub_drain(struct hub *h);	       /* SIGTERM: takes nothing new, says goodbye to the clients */
void hub_end_all(struct hub *h);       /* the drain time is over: every exchange fails now */
void hub_close_tunnels(struct hub *h); /* with 1001 */
bool hub_has_tunnels(const struct hub *h); /* open ones, or sockets that still close */

/* The responder of this exchange gives it up and will not ask for a reply any more. */
void hub_abandon(struct hub *h, const uint8_t corr[CORR_BYTES], enum fail f);

/* The responder of this exchange holds so many bytes of the response that its caller has not taken. They
 * count for the budget, and nothing more is given to it while there are many. */
void hub_note_unsent(struct hub *h, const uint8_t corr[CORR_BYTES], size_t bytes);

/* Answers an OPEN that made no exchange. */
void hub_refuse(struct hub *h, const struct gate_peer *peer, const struct gate_msg *m, enum fail f);

/* --- exchange.c --- */
struct exchange *exchange_find(struct hub *h, const uint8_t corr[CORR_BYTES]);
void exchange_open(struct hub *h, const struct gate_peer *peer, const struct gate_msg *m);
void exchange_step(struct exchange *x, const struct gate_peer *peer, const struct gate_msg *m);
void exchange_touch(struct exchange *x);    /* something changed: hub_settle() shall look at it */
void exchange_settle(struct exchange *x);   /* replies if there is something to say; may free it */
void exchange_progress(struct exchange *x); /* a byte moved: its time-out starts again */
int64_t exchange_credit_bytes(const struct exchange *x);

/* Ends it badly; the first reason wins. Takes it off its group or tunnel; on the tunnel the stream
 * is reset when it had begun. Frees nothing. */
void exchange_fail(struct exchange *x, enum fail f);
/* Its responder is gone: fails, then hub_settle() frees. */
void exchange_abandon(struct exchange *x);
void exchange_idle(struct exchange *x); /* its idle deadline has come */
void exchange_free_all(struct hub *h);

/* The tunnel side: what the protocols report. All mark the exchange dirty and free nothing. False: there was
 * no memory, and the exchange has failed. */
bool exchange_on_head(struct exchange *x, const void *head, size_t bytes) MUST_CHECK;
bool exchange_on_data(struct exchange *x, const void *data, size_t bytes) MUST_CHECK;
void exchange_on_body(struct exchange *x, struct buf *body); /* the whole one: takes its memory */
void exchange_on_end(struct exchange *x);		     /* complete: its stream is over */
void exchange_recount(struct exchange *x);		     /* after its buffers have changed */
bool exchange_on_stream(const struct exchange *x);	     /* a tunnel has to do with it still */

/* --- group.c --- */
struct group *group_find(struct hub *h, const char *id, size_t bytes);
struct group *group_get(struct hub *h, const char *id, size_t bytes); /* makes it if need be */

/* A new exchange: to a tunnel, or into the queue. Otherwise says why not, and nothing has changed. */
enum fail group_accept(struct group *r, struct exchange *x) MUST_CHECK;
void group_requeue(struct group *r, struct exchange *x); /* at the front: its tunnel was lost */
void group_dequeue(struct exchange *x);
void group_dispatch(struct group *r);
void group_expect_tunnel(struct group *r); /* its token is good, its greeting is still to come */
void group_add_tunnel(struct group *r, struct tunnel *t);
void group_remove_tunnel(struct tunnel *t);
/* One takes nothing new: those that wait may be alone now. */
void group_tunnel_left(struct group *r);
void group_hold(struct group *r);		   /* an exchange or a tunnel has it as its home */
void group_release(struct group *r);		   /* not any more */
bool group_may_open_tunnel(const struct group *r); /* PIPEGATE_MAX_TUNNELS */
void group_free_all(struct hub *h);

/* A caller's WebSocket counts for the limit of its id from the time that a tunnel takes it until its socket is
 * closed, which may be long after the end of the exchange: a caller need not read. */
void group_socket_opened(struct group *r, const struct exchange *x);
void group_socket_closed(struct hub *h, const uint8_t corr[CORR_BYTES]); /* if it counts */
void group_socket_unsent(struct hub *h, const uint8_t corr[CORR_BYTES], size_t bytes);
void group_forget_idle(struct hub *h); /* frees those never seen, and the oldest over the bound */

/* --- budget.c: PIPEGATE_MAX_BUFFER_BYTES_PER_ID --- */
bool budget_is_full(const struct group *r);  /* nothing new is taken for it */
bool budget_is_tight(const struct group *r); /* windows shall not grow */
bool budget_admits(const struct group *r, size_t bytes);
size_t budget_message_bytes(const struct tunnel *t); /* the largest message from its client */

/* *charged is what `r` was charged before, and becomes `bytes`. */
void budget_charge(struct group *r, size_t *charged, size_t bytes);
/* So many bytes of a message from the client are here; unfinished: more of it has to come. */
void budget_message(struct tunnel *t, size_t bytes, bool unfinished);
void budget_new_tunnel(struct tunnel *t);

/* What a message or a piece of one costs the loop: all tunnels of an id share so much in each turn. True: it is spent,
 * and the tunnel is not to be read before the next turn. */
bool budget_spend(struct tunnel *t, size_t bytes) MUST_CHECK;
void budget_unmark(struct group *r);
void budget_settle(struct hub *h); /* pauses and resumes reading */
void budget_tick(struct hub *h);

#endif
