/* client/lifecycle.h - The states of the client's tunnel and its timeouts: when to connect, when to
 * give up, when to ping, which errors are final, and how to stop. Pure: no sockets, no library;
 * time and random numbers are passed in.
 *
 *              tick                connected           greeted              accepted
 *   WAITING -------> CONNECTING -----------> SHAKING ----------> GREETING -----------> OPEN
 *      ^                  |                     |                    |                   |
 *      |                  |                     |                    +--> CLOSING <------+
 *      +------------------+---------------------+-------- ended ---------------+
 *                                               \-------> OVER (refused, or told to stop)
 *
 * SHAKING: the opening handshake runs. GREETING: the WebSocket is open and in use, but the server
 * may still refuse the token. All times are in milliseconds of a monotonic clock. */
#ifndef PIPEGATE_LIFECYCLE_H
#define PIPEGATE_LIFECYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LIFECYCLE_ATTEMPT_MS = 20000, /* from the name look-up to the end of the handshake */
	LIFECYCLE_REFUSAL_MS = 2000,  /* to read the body of an HTTP error */
	/* A v1 server accepts the token by not closing within this time. */
	LIFECYCLE_V1_ACCEPT_MS = 1000,
	LIFECYCLE_PING_MS = 20000,    /* without input; then send a Ping */
	LIFECYCLE_HANG_UP_MS = 30000, /* without input; then give the connection up */
	/* For the peer's Close after ours, and for the end of its connection. */
	LIFECYCLE_CLOSE_MS = 2000,
	LIFECYCLE_STOP_CLOSE_MS = 500, /* the same while the program stops */
	/* While the program stops: how long to wait for the server's GOAWAY after ours. */
	LIFECYCLE_GOAWAY_MS = 500,
	LIFECYCLE_BACKOFF_LEAST_MS = 1000,
	LIFECYCLE_BACKOFF_MOST_MS = 60000,
	LIFECYCLE_HELD_MS = 10000, /* a tunnel open for this long resets the back-off */
	/* The server restarts (1001): so many times the first attempts are made within this time,
	 * before the back-off. A tunnel open for LIFECYCLE_HELD_MS allows them again. */
	LIFECYCLE_RESTART_MS = 500,
	LIFECYCLE_RESTARTS_MAX = 5,
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

/* Initialise with lifecycle_init(). Callers may read `state`; the rest is private. */
struct lifecycle {
	enum lifecycle_state state;
	enum lifecycle_state logged;
	bool stopping;
	/* GREETING: the end of the wait means accepted (v1); otherwise it is a failure. */
	bool by_time;
	bool pinged;	   /* after `received_ms` */
	int64_t due_ms;	   /* when the state's wait ends */
	int64_t drain_ms;  /* while stopping: end of the wait for running requests */
	int64_t goaway_ms; /* while stopping: until then the server may send requests */
	int64_t received_ms;
	int64_t pinged_ms;
	int64_t opened_ms;
	int64_t backoff_ms;
	int restarts; /* attempts by LIFECYCLE_RESTART_MS, since a tunnel has held */
};

/* What the caller must do next. */
enum lifecycle_step {
	LIFECYCLE_NOTHING,
	LIFECYCLE_CONNECT, /* the state is already CONNECTING */
	/* the wait for the attempt or the peer's Close: call lifecycle_ended() */
	LIFECYCLE_TIMED_OUT,
	LIFECYCLE_ACCEPTED, /* the state is now OPEN */
	LIFECYCLE_PING,
	LIFECYCLE_SILENT, /* the peer is dead: call lifecycle_ended() */
	LIFECYCLE_DRAIN,  /* let requests finish; close then, or at a later step */
	LIFECYCLE_CLOSE,  /* send Close 1000, then call lifecycle_closing() */
	LIFECYCLE_STOP,	  /* drop everything: the state is OVER */
};

/* With -v: logs the state if it has changed since the last call. */
void lifecycle_log(struct lifecycle *l);
const char *lifecycle_state_name(enum lifecycle_state s); /* "WAITING" */

void lifecycle_init(struct lifecycle *l, int64_t now_ms); /* the first attempt is due at once */
/* When to call lifecycle_tick(); INT64_MAX: never. */
int64_t lifecycle_next_ms(const struct lifecycle *l);
enum lifecycle_step lifecycle_tick(struct lifecycle *l, int64_t now_ms);

void lifecycle_connected(struct lifecycle *l);

/* The server has begun an HTTP error: the rest of it must arrive within LIFECYCLE_REFUSAL_MS. */
void lifecycle_refusing(struct lifecycle *l, int64_t now_ms);

/* The WebSocket is open. `by_time`: no message confirms the token; the end of a short wait does. */
void lifecycle_greeted(struct lifecycle *l, int64_t now_ms, bool by_time);

/* A message arrived that only an accepted client receives. Returns true if the state became
 * OPEN. */
bool lifecycle_accepted(struct lifecycle *l, int64_t now_ms);

void lifecycle_received(struct lifecycle *l, int64_t now_ms); /* the peer is alive */
void lifecycle_closing(struct lifecycle *l, int64_t now_ms);  /* a Close was sent or received */

/* Call after the machine was suspended: connects at once, or checks soon whether the peer is still
 * there. */
void lifecycle_woke(struct lifecycle *l, int64_t now_ms);

/* Stops for good. `most_ms`: how long requests may still run; 0: not at all. */
enum lifecycle_step lifecycle_stop(struct lifecycle *l, int64_t now_ms, int64_t most_ms);

/* Call when no request runs. `expects_more`: the server may still send requests. Returns true if
 * Close is to be sent now. */
bool lifecycle_may_close(const struct lifecycle *l, int64_t now_ms, bool expects_more);

/* How a connection or an attempt ended: an HTTP status, or the code and reason of a Close. */
struct lifecycle_end {
	int code;
	bool by_http;
	const void *reason; /* of a Close */
	size_t reason_bytes;
};

enum lifecycle_fate { LIFECYCLE_RETRY, LIFECYCLE_REFUSED, LIFECYCLE_STOPPED };

/* The state becomes WAITING (RETRY; *delay_ms is the wait, with jitter taken from `chance`) or
 * OVER. */
enum lifecycle_fate lifecycle_ended(struct lifecycle *l, int64_t now_ms,
				    const struct lifecycle_end *end, uint16_t random_bits,
				    int64_t *delay_ms);

#endif
