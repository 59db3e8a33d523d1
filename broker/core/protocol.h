/* broker/core/protocol.h - One tunnel as the core and its protocols (v1.c, v2.c) see it. Private
 * to broker/core/.
 *   GREETING --HELLO--> OPEN --GOAWAY--> LEAVING --tunnel_kill() or the socket closed--> DEAD
 *   (v1 starts in OPEN)
 *
 * A DEAD tunnel has left its group and its exchanges; it is freed in hub_settle() once its
 * socket is gone too. */
#ifndef PIPEGATE_PROTOCOL_H
#define PIPEGATE_PROTOCOL_H

#include "broker/core/exchange.h"
#include "broker/core/tunnel.h"
#include "common/rtt.h"

#define TUNNEL_STATES(X) X(GREETING) X(OPEN) X(LEAVING) X(DEAD)

enum tunnel_state {
#define X(name) TUNNEL_##name,
	TUNNEL_STATES(X)
#undef X
};

/* consumed, cancel, detach and goodbye may be NULL: nothing to do. */
struct protocol {
	const char *name;		 /* "v1", "v2" */
	void (*start)(struct tunnel *t); /* greets, or opens at once */
	/* FAIL_NONE, or why this tunnel can never carry that request. */
	enum fail (*refuses)(const struct tunnel *t, const struct exchange *x);
	/* The exchange was assigned to this tunnel, or has more of its request. May fail it. */
	void (*more)(struct tunnel *t, struct exchange *x);
	/* How many more request body bytes are welcome. */
	int64_t (*credit)(const struct tunnel *t, const struct exchange *x);
	/* The responder received this many bytes of the response body. */
	void (*consumed)(struct tunnel *t, struct exchange *x, size_t bytes);
	/* The exchange leaves before its end; `f` says why. */
	void (*cancel)(struct tunnel *t, struct exchange *x, enum fail f);
	/* It leaves for any reason: forget its stream. */
	void (*detach)(struct tunnel *t, struct exchange *x);
	/* One piece for the wire, see tunnel_pull(). */
	size_t (*pull)(struct tunnel *t, uint8_t *out, bool *first, bool *final);
	/* The broker will stop: tell the client. */
	void (*goodbye)(struct tunnel *t);
	/* A complete message from the client. Where receive() is NULL it is taken in two steps:
	 * decode() takes the message's memory, may run on any thread and needs no tunnel;
	 * on_decoded() has the effect. */
	void (*receive)(struct tunnel *t, const uint8_t *data, size_t bytes);
	void (*decode)(struct v1_response *r, struct buf *message);
	void (*on_decoded)(struct tunnel *t, struct v1_response *r);
	size_t max_message_bytes;
	bool text;
};

/* What a tunnel tells its group. */
struct tunnel_events {
	/* It has greeted. False: it may not open, and is doomed. */
	bool (*admit)(struct tunnel *t);
	void (*opened)(struct tunnel *t);
	/* It takes nothing new. */
	void (*leaving)(struct tunnel *t);
	/* An exchange has left. */
	void (*room)(struct tunnel *t);
	/* It is dead; its exchanges leave next. True: too many sockets are closing, cut this
	 * one. */
	bool (*dead)(struct tunnel *t);
	/* It is dead, and had not sent this exchange: another may serve it. */
	void (*returned)(struct tunnel *t, struct exchange *x);
	/* The socket of a dead one is closed. */
	void (*closed)(struct tunnel *t);
};

struct tunnel {
	struct hub *hub;
	struct group *home;  /* its connection id */
	struct group *group; /* the same while it is open, NULL otherwise */
	const struct protocol *protocol;
	const struct tunnel_events *events;
	const struct tunnel_io *io;
	void *socket; /* NULL: closed */
	enum tunnel_state state;
	uint64_t number; /* for the log */
	int64_t since_ms;
	char id[CONNECTION_ID_MAX_BYTES + 1];
	struct tunnel_grant grant; /* owns its texts */
	int64_t expires_ms;	   /* of its token; monotonic */
	struct deadline life;	   /* for HELLO; then until expires_ms */

	TAILQ_ENTRY(tunnel) all;      /* hub->tunnels, or hub->dead_tunnels */
	TAILQ_ENTRY(tunnel) siblings; /* home->tunnels, or home->greeting */
	TAILQ_ENTRY(tunnel) dirty_link;
	bool dirty;
	const char *doom; /* static text: hub_settle() closes it for that reason */
	int doom_code;

	struct exchange_list running;
	size_t running_count;	/* requests */
	size_t websocket_count; /* callers' WebSockets: the rest of `running` */
	size_t max_running;
	struct turns turns; /* of those in `running` that have something to send */

	/* budget.c */
	size_t out_charge;    /* what `home` is charged for `out` and `out_body` */
	size_t message_bytes; /* and for the message being received */
	bool unfinished;      /* that message is incomplete */
	bool paused;	      /* its socket must not be read */
	struct deadline message, stall;

	/* To send first. v1: the current message before its body. v2: complete frames. */
	struct buf out;
	/* The client process and its program, from its HELLO. "": unknown (all v1 clients). */
	char instance[33];
	char agent[TUNNEL_AGENT_BYTES];

	/* For view.h. */
	char address[TUNNEL_ADDRESS_BYTES];
	uint64_t requests, in_bytes, out_bytes;

	/* Private to v1.c; tunnel.c charges and frees the body. */
	struct {
		struct buf body; /* of the current message; not yet encoded */
		bool tail_due;	 /* what follows the body has not been sent */
		bool begun;	 /* a piece of the message has been sent */
	} v1;

	/* Private to v2.c. */
	struct {
		struct exchange *streams; /* by exchange->v2.stream */
		uint32_t last_stream;
		int64_t peer_window_bytes;
		struct rtt rtt;
	} v2;
};

TAILQ_HEAD(tunnel_list, tunnel);

/* A tunnel in state GREETING, which tunnel_start() sets off. */
struct tunnel *tunnel_new(struct hub *h, const struct tunnel_start *start, struct group *home,
			  const struct tunnel_events *events);
void tunnel_start(struct tunnel *t);

/* Assigns the exchange to this tunnel, where it counts as running. */
void tunnel_take(struct tunnel *t, struct exchange *x);
void tunnel_detach(struct exchange *x);			 /* the exchange leaves */
void tunnel_ready(struct tunnel *t, struct exchange *x); /* `x` has something to send */
struct exchange *tunnel_next(const struct tunnel *t);	 /* to send; NULL: none */
/* The largest request body that it may carry; 0: no limit. */
int64_t tunnel_body_limit(const struct tunnel *t);
void tunnel_touch(struct tunnel *t);	   /* flush at the next hub_settle() */
void tunnel_opened(struct tunnel *t);	   /* GREETING -> OPEN */
void tunnel_leaving(struct tunnel *t);	   /* accepts nothing new */
void tunnel_life_over(struct tunnel *t);   /* `life` expired */
void tunnel_say_goodbye(struct tunnel *t); /* the broker will stop */
void tunnel_free(struct tunnel *t);	   /* DEAD, and its socket is closed */

/* tunnel_kill() at the next hub_settle(): for where the tunnel is still in use. */
void tunnel_doom(struct tunnel *t, int ws_code, const char *reason);
void tunnel_recount(struct tunnel *t); /* after `out` has changed */

const char *tunnel_state_name(enum tunnel_state s);

#endif
