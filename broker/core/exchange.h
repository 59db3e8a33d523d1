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
	/* The responder took so many response body bytes. */
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
	uint64_t process; /* of the responder; 0: of none */
	bool websocket;	  /* a caller's: has no end of its own, so it is counted apart */
	int64_t opened_ms;
	enum exchange_state state; /* exchange_set_state() changes it */
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
	enum fail fail;
	bool refused;  /* never accepted: neither queued nor given to a tunnel */
	bool sent;     /* exchange_mark_sent() */
	bool unserved; /* exchange_mark_unserved() */

	/* Where it is. The holder sets these; this file knows `holder` only. */
	const struct exchange_holder *holder;
	struct group *home;    /* its connection id */
	size_t held_bytes;     /* what `home` is charged for it */
	size_t unsent_bytes;   /* the responder holds so much of the response: see ws_relay.h */
	struct group *group;   /* while queued */
	struct tunnel *tunnel; /* NULL: queued, or over on the tunnel side */
	TAILQ_ENTRY(exchange) place;	  /* group->queue or tunnel->running */
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
	struct reply_to to;
	struct deadline hold;		 /* reply_due: an empty reply goes out then */
	struct deadline progress;	 /* response time-out, then idle time-out */
	struct deadlines *progress_list; /* the one that `progress` is on */
	struct deadline offline;	 /* queued without a tunnel */
};

TAILQ_HEAD(exchange_list, exchange);

/* Changes the state. A change that is not in the drawing above ends the process. */
void exchange_set_state(struct exchange *x, enum exchange_state to);
const char *exchange_state_name(enum exchange_state s);

/* Whether the app may have seen the request (delivered=) is decided by these three alone. */
void exchange_mark_sent(struct exchange *x);	 /* bytes of it were written for a tunnel */
void exchange_mark_unserved(struct exchange *x); /* the client says that the app never saw it */
static inline bool exchange_maybe_delivered(const struct exchange *x)
{
	return x->sent && !x->unserved;
}

static inline bool exchange_is_over(const struct exchange *x)
{
	return x->state == EXCHANGE_FAILED || x->state == EXCHANGE_ABANDONED;
}

struct exchange *exchange_find(struct hub *h, const uint8_t corr[CORR_BYTES]);
/* Its holder lets it go. */
void exchange_release(struct exchange *x, enum fail f);
void exchange_drop_response(struct exchange *x); /* what the responder has not fetched */
void exchange_free(struct exchange *x);		 /* released before */
void exchange_touch(struct exchange *x);    /* something changed: hub_settle() shall look at it */
void exchange_progress(struct exchange *x); /* a byte moved: its time-out starts again */
int64_t exchange_credit_bytes(const struct exchange *x);

/* Ends it badly; the first reason wins. Its holder releases it. Frees nothing. */
void exchange_fail(struct exchange *x, enum fail f);
/* Its responder is gone: fails, then hub_settle() frees. */
void exchange_abandon(struct exchange *x);
void exchange_idle(struct exchange *x); /* its idle deadline has come */

/* The tunnel side: what the protocols report. All mark the exchange dirty and free nothing.
 * False: there was no memory, and the exchange has failed. */
bool exchange_on_head(struct exchange *x, const void *head, size_t bytes) MUST_CHECK;
bool exchange_on_data(struct exchange *x, const void *data, size_t bytes) MUST_CHECK;
void exchange_on_body(struct exchange *x, struct buf *body); /* the whole one: takes its memory */
void exchange_on_end(struct exchange *x);		     /* complete: its stream is over */
void exchange_recount(struct exchange *x);		     /* after its buffers have changed */

#endif
