/* client/lifecycle.h - The states of the client's tunnel and all of its clocks: when to try, when to give up, when to
 * ping, what a refusal is, and how to stop. Pure: no sockets, no library; time and chance are passed in.
 *
 *             tick                connected           greeted              accepted
 *   WAITING -------> CONNECTING -----------> SHAKING ----------> GREETING -----------> OPEN
 *      ^                  |                     |                    |                   |
 *      |                  |                     |                    +--> CLOSING <------+
 *      +------------------+---------------------+-------- ended ---------------+
 *                                               \-------> OVER (refused, or told to stop)
 *
 * GREETING: the WebSocket is open and in use, but the server may still refuse the token. All times are in milliseconds
 * of a monotonic clock. */
#ifndef PIPEGATE_LIFECYCLE_H
#define PIPEGATE_LIFECYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LIFECYCLE_ATTEMPT_MS = 20000, /* from the name look-up to the end of the handshake */
	LIFECYCLE_REFUSAL_MS = 2000,  /* for the body of an HTTP error */
	/* A v1 server that has not closed by then accepts the token. */
	LIFECYCLE_V1_ACCEPT_MS = 1000,
	LIFECYCLE_PING_MS = 20000,    /* of silence, then a Ping */
	LIFECYCLE_HANG_UP_MS = 30000, /* of silence, then the connection is given up */
	/* For the peer's Close after ours, and the end of its connection. */
	LIFECYCLE_CLOSE_MS = 2000,
	LIFECYCLE_STOP_CLOSE_MS = 500, /* the same while the program stops */
	LIFECYCLE_GOAWAY_MS = 500, /* while the program stops: for the server's answer to GOAWAY */
	LIFECYCLE_BACKOFF_LEAST_MS = 1000,
	LIFECYCLE_BACKOFF_MOST_MS = 60000,
	LIFECYCLE_HELD_MS = 10000, /* a tunnel that was open this long resets the back-off */
};

enum lifecycle_state {
	LIFECYCLE_WAITING,
	LIFECYCLE_CONNECTING,
	LIFECYCLE_SHAKING,
	LIFECYCLE_GREETING,
	LIFECYCLE_OPEN,
	LIFECYCLE_CLOSING,
	LIFECYCLE_OVER,
};

/* Initialise with lifecycle_init(). The state may be read; the rest is private. */
struct lifecycle {
	enum lifecycle_state state;
	enum lifecycle_state logged;
	bool stopping;
	bool by_time;	/* GREETING: the end of the wait accepts (v1); otherwise it is a failure */
	bool pinged;	/* since `heard_ms` */
	int64_t due_ms; /* end of the state's wait */
	int64_t drain_ms;  /* while stopping: requests have until then */
	int64_t goaway_ms; /* while stopping: the server may still send requests until then */
	int64_t heard_ms;
	int64_t pinged_ms;
	int64_t opened_ms;
	int64_t backoff_ms;
};

/* What the caller has to do now. */
enum lifecycle_step {
	LIFECYCLE_NOTHING,
	LIFECYCLE_CONNECT, /* the state is CONNECTING already */
	LIFECYCLE_TIMED_OUT, /* the attempt, or the wait for the peer's Close: call lifecycle_ended() */
	LIFECYCLE_ACCEPTED, /* the state is OPEN now */
	LIFECYCLE_PING,
	LIFECYCLE_SILENT, /* the peer is dead: call lifecycle_ended() */
	LIFECYCLE_DRAIN,  /* requests may finish; then, or at a later step, close */
	LIFECYCLE_CLOSE,  /* send Close 1000, then call lifecycle_closing() */
	LIFECYCLE_STOP,	  /* drop everything: the state is OVER */
};

/* -v: the state, if it is not the one that was logged last. */
void lifecycle_log(struct lifecycle *l);
const char *lifecycle_state_name(enum lifecycle_state s); /* "WAITING" */

void lifecycle_init(struct lifecycle *l, int64_t now_ms); /* the first attempt is due at once */
/* When lifecycle_tick() is due; INT64_MAX: never. */
int64_t lifecycle_next_ms(const struct lifecycle *l);
enum lifecycle_step lifecycle_tick(struct lifecycle *l, int64_t now_ms);

void lifecycle_connected(struct lifecycle *l);

/* The server's HTTP error has begun: what follows of it has LIFECYCLE_REFUSAL_MS. */
void lifecycle_refusing(struct lifecycle *l, int64_t now_ms);

/* The WebSocket is open. `by_time`: no message says that the token is accepted, so the end of a short wait does. */
void lifecycle_greeted(struct lifecycle *l, int64_t now_ms, bool by_time);

/* A message came that only an accepted client gets. True: the state has become OPEN by it. */
bool lifecycle_accepted(struct lifecycle *l, int64_t now_ms);

void lifecycle_heard(struct lifecycle *l, int64_t now_ms);   /* the peer lives */
void lifecycle_closing(struct lifecycle *l, int64_t now_ms); /* a Close was sent or received */

/* The machine slept, or the clock says so: try at once, or see soon whether the peer is still there. */
void lifecycle_woke(struct lifecycle *l, int64_t now_ms);

/* Stops for good. `most_ms`: how long requests may still run; 0: not at all. */
enum lifecycle_step lifecycle_stop(struct lifecycle *l, int64_t now_ms, int64_t most_ms);

/* No request runs. `expects_more`: the server has not yet said that it sends no more of them. True: send Close now. */
bool lifecycle_may_close(const struct lifecycle *l, int64_t now_ms, bool expects_more);

/* How a connection or an attempt ended: an HTTP status, or the code and reason of a Close. */
struct lifecycle_end {
	int code;
	bool by_http;
	const void *reason; /* of a Close */
	size_t reason_bytes;
};

enum lifecycle_fate { LIFECYCLE_RETRY, LIFECYCLE_REFUSED, LIFECYCLE_STOPPED };

/* The state becomes WAITING (RETRY; *delay_ms is the wait, which `chance` spreads by a fifth) or OVER. */
enum lifecycle_fate lifecycle_ended(struct lifecycle *l, int64_t now_ms,
				    const struct lifecycle_end *end, uint16_t chance,
				    int64_t *delay_ms);

#endif
