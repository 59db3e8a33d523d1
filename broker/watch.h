/* broker/watch.h - Decides when a WebSocket gets a Ping, and when its connection is cut.
 *
 * Keeps the deadlines of all WebSockets: silence, a Ping without a Pong, a Close without the peer's
 * Close. Does no I/O and reads no clock: each function gets the time, and struct watch_calls does
 * the I/O.
 *
 * libwebsockets has a similar feature (retry_and_idle_policy), but 4.1 keeps all timers in one
 * sorted list: with 10,000 tunnels, a round of Pings took eight seconds. lws_set_timeout() is no
 * substitute: if it is called outside of a callback of libwebsockets, the timeout starts with
 * the next event of any of its sockets, up to a minute later. */
#ifndef PIPEGATE_WATCH_H
#define PIPEGATE_WATCH_H

#include "broker/core/deadline.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	/* How long a peer may be silent before it gets a Ping. With the Pong's time and one tick, a
	 * lost peer is found within 30 s. */
	WATCH_PING_AFTER_MS = 19000,
	/* How long the Pong may take. A peer that is late but still acknowledges bytes written
	 * before the Ping is not cut. */
	WATCH_PONG_WITHIN_MS = 10000,
	/* How long the peer's Close may take. */
	WATCH_CLOSE_WAIT_MS = 5000,
	/* Limit on sockets that are closing because of a bad token; above it, the oldest is cut. */
	WATCH_REFUSED_MAX = 1024,
};

/* One WebSocket, embedded in its owner's struct. Zero: not watched. */
struct watched {
	struct deadlines *list; /* that has `deadline`; NULL: none */
	struct deadline deadline;
	int64_t received_ms;   /* when the last bytes arrived; the owner sets it */
	int64_t pinged_ms;     /* when the last Ping was due */
	int64_t written_bytes; /* of messages; the owner counts them */
	/* written_bytes when the Ping was written: the peer must read this many to see it.
	 * INT64_MAX: the Ping has not been written. */
	int64_t ping_offset_bytes;
	/* How many bytes the peer's kernel had acknowledged at the last check. */
	int64_t acked_bytes;
	bool paused; /* the owner does not read the socket, so no Pong arrives */
};

struct watch_calls {
	/* The peer is alive. Drop a Ping that has not been written. */
	void (*alive)(struct watched *s);
	/* Write a Ping, then call watch_ping_sent(). */
	void (*ping)(struct watched *s);
	/* End the connection, which is not watched any more. */
	void (*cut)(struct watched *s);
	/* True if the peer has closed its side or the connection is broken. Must work while
	 * reading is paused. */
	bool (*has_ended)(const struct watched *s);
	/* How many written bytes the peer's kernel has not acknowledged. */
	int64_t (*unsent_bytes)(const struct watched *s);
};

/* Set `calls`, and the rest to zero; end with watch_fini(). */
struct watch {
	const struct watch_calls *calls;
	struct deadlines silences, pongs, closings, refused;
	size_t refused_count;
};

void watch_start(struct watch *w, struct watched *s, int64_t now_ms);

/* Sets s->paused. When reading resumes, the time for a Pong starts again, because the Pong may
 * be in the unread input. */
void watch_pause(struct watch *w, struct watched *s, bool paused, int64_t now_ms);

/* Waits for the peer's Close, and not for input any more. The same deadline ends a peer that
 * does not read, so that our Close cannot be sent. */
void watch_closing(struct watch *w, struct watched *s, int64_t now_ms);

/* Does the same after a bad token. May cut the oldest such socket, which may be `s`. */
void watch_refused(struct watch *w, struct watched *s, int64_t now_ms);

/* The Ping that watch_calls.ping() requested was written. */
void watch_ping_sent(struct watched *s);

void watch_cut(struct watch *w, struct watched *s);
void watch_stop(struct watch *w, struct watched *s); /* may be called if it is not watched */
void watch_tick(struct watch *w, int64_t now_ms);
void watch_fini(struct watch *w);

#endif
