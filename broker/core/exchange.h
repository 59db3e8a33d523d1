/* broker/core/exchange.h - One request and its response, from OPEN to its one end. Private to
 * broker/core/.
 *
 *   NEW --> QUEUED --> ASSIGNED --> SENT --> RESPONDING --> ANSWERED --> (freed)
 *    |         ^-----------'                                   |
 *    `---------> from each of them: FAILED --> ABANDONED <-----'
 *
 * ASSIGNED: a tunnel has it, and no byte of it has been sent. Only from there it may return to the
 * queue. ANSWERED: the response is complete here, but the responder has not fetched all of it. A
 * FAILED one waits for its responder to fetch the failure; ABANDONED: nobody will. */
#ifndef PIPEGATE_EXCHANGE_H
#define PIPEGATE_EXCHANGE_H

#include "broker/core/deadline.h"
#include "broker/core/exchange_log.h"
#include "broker/core/hub.h"
#include "common/buf.h"
#include "common/flow.h"
#include "common/turns.h"

#include <sys/queue.h>
#include <uthash.h>

struct group;

enum {
	/* Leaves room in a frame. */
	FRAME_REQUEST_HEAD_MAX_BYTES = 96 * 1024,
};

#define EXCHANGE_STATES(X)                                                                         \
	X(NEW) X(QUEUED) X(ASSIGNED) X(SENT) X(RESPONDING) X(ANSWERED) X(FAILED) X(ABANDONED)

enum exchange_state {
#define X(name) EXCHANGE_##name,
	EXCHANGE_STATES(X)
#undef X
		EXCHANGE_STATE_COUNT
};

/* What holds an exchange: the queue of its group, or a tunnel. NULL: nothing to do. */
struct exchange_holder {
	/* There is more of the request. May fail it. */
	void (*more)(struct exchange *x);
	/* How many more request body bytes are welcome. */
	int64_t (*credit)(const struct exchange *x);
	/* The responder received this many bytes of the response body. */
	void (*consumed)(struct exchange *x, size_t bytes);
	/* The response is complete here; the exchange keeps its place until it is released. */
	void (*answered)(struct exchange *x);
	/* It leaves, because of `f` or at its good end. Must reset `holder`. */
	void (*release)(struct exchange *x, enum fail f);
};

struct exchange {
	UT_hash_handle hh; /* hub->exchanges, by corr */
	uint8_t corr[CORR_BYTES];
	struct hub *hub;
	uint64_t process; /* of the responder; 0: none */
	bool websocket;	  /* a caller's WebSocket: no end of its own, counted apart */
	int64_t opened_ms;
	enum exchange_state state; /* exchange_set_state() changes it */
	struct exchange_log log;

	/* Request. */
	struct buf head;	  /* empty once it was sent */
	struct buf up;		  /* body bytes to send */
	size_t granted_bytes;	  /* credit of the last reply, charged in advance */
	bool up_end;		  /* the end of the body was received */
	bool up_end_sent;	  /* and sent */
	int64_t up_bytes;	  /* received so far */
	int64_t body_total_bytes; /* declared; -1: unknown */

	/* Response. */
	struct buf response_head; /* until the responder has it */
	struct buf down;	  /* body bytes for the responder */
	bool head_came, head_given;
	bool down_end; /* the end of the body was received */

	/* The failure. */
	enum fail fail;
	bool refused;  /* never accepted: neither queued nor assigned */
	bool sent;     /* exchange_mark_sent() */
	bool unserved; /* exchange_mark_unserved() */

	/* Where it is. The holder sets these; this file knows `holder` only. */
	const struct exchange_holder *holder;
	struct group *home;	     /* its connection id */
	size_t held_bytes;	     /* what `home` is charged for it */
	int64_t window_charge_bytes; /* what hub->windows is charged for its receive window */
	size_t unsent_bytes;	     /* of the response, held by the responder: hub_note_unsent() */
	struct group *group;	     /* while queued */
	struct tunnel *tunnel;	     /* NULL: on none */
	TAILQ_ENTRY(exchange) place; /* group->queue or tunnel->running */
	struct turn turn;	     /* in tunnel->turns: has something to send */
	TAILQ_ENTRY(exchange) dirty_link; /* hub->dirty */
	bool dirty;

	/* Private to v1.c; requester.c sets the refusal. */
	struct {
		/* v1_request_refusal(), computed once because a queue is searched often. */
		enum fail refusal;
		bool is_head; /* the method was HEAD; set when the request is sent */
	} v1;

	/* Private to v2.c. */
	struct {
		UT_hash_handle hh; /* tunnel->v2.streams */
		uint32_t stream;
		struct flow flow;
	} v2;

	/* The waiting responder. */
	bool reply_due;
	bool wants_credit;   /* the reply goes out as soon as there is credit */
	bool gave_no_credit; /* the last reply had none */
	bool hold_over;
	bool gave_bulk;	  /* the last reply had a large piece: the next one is gathered */
	bool gather_over; /* and has waited long enough */
	struct reply_to to;
	struct deadline hold;		 /* when an empty reply is sent */
	struct deadline gather;		 /* when the gathered reply is sent */
	struct deadline progress;	 /* response time-out, then idle time-out */
	struct deadlines *progress_list; /* that has `progress` */
	struct deadline offline;	 /* queued, and no tunnel is open */
};

TAILQ_HEAD(exchange_list, exchange);

/* Changes the state. CHECKs that the change is in the drawing above. */
void exchange_set_state(struct exchange *x, enum exchange_state to);
const char *exchange_state_name(enum exchange_state s);

/* These three alone decide whether the app may have seen the request (delivered=). */
void exchange_mark_sent(struct exchange *x);	 /* bytes of it were written for a tunnel */
void exchange_mark_unserved(struct exchange *x); /* the client says: not by the app */
static inline bool exchange_maybe_delivered(const struct exchange *x)
{
	return x->sent && !x->unserved;
}

static inline bool exchange_is_over(const struct exchange *x)
{
	return x->state == EXCHANGE_FAILED || x->state == EXCHANGE_ABANDONED;
}

struct exchange *exchange_find(struct hub *h, const uint8_t corr[CORR_BYTES]);
/* Makes the holder release it. */
void exchange_release(struct exchange *x, enum fail f);
void exchange_drop_response(struct exchange *x); /* not yet fetched bytes */
void exchange_free(struct exchange *x);		 /* released before */
void exchange_touch(struct exchange *x);	 /* hub_settle() must look at it */
void exchange_progress(struct exchange *x);	 /* bytes moved: restarts the time-out */
int64_t exchange_credit_bytes(const struct exchange *x);

/* Ends it with a failure; the first one wins. The holder releases it. Frees nothing. */
void exchange_fail(struct exchange *x, enum fail f);
/* Its responder is gone: fails it, and hub_settle() frees it without a reply. */
void exchange_abandon(struct exchange *x);
void exchange_idle(struct exchange *x); /* no progress in time */

/* Reports of the protocols. All mark the exchange dirty and free nothing.
 * False: there was no memory, and the exchange has failed. */
bool exchange_on_head(struct exchange *x, const void *head, size_t bytes) MUST_CHECK;
bool exchange_on_data(struct exchange *x, const void *data, size_t bytes) MUST_CHECK;
void exchange_on_body(struct exchange *x, struct buf *body); /* all of it; takes its memory */
void exchange_on_end(struct exchange *x);		     /* the response is complete */
void exchange_recount(struct exchange *x);		     /* after a buffer has changed */

#endif
