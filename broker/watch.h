/* broker/watch.h - Decides when a WebSocket gets a Ping and when it is cut.
 *
 * Owns the deadlines of all WebSockets: silence, a Ping without a Pong, a Close without the peer's.
 * Does no I/O and reads no clock: each function gets the time, and watch_calls do the rest.
 *
 * libwebsockets can do this too (retry_and_idle_policy), but 4.1 keeps all timers in one sorted
 * list: with 10,000 tunnels a round of Pings took eight seconds. lws_set_timeout() does not
 * serve either: a timeout that is set outside of its callbacks starts with the next event of any
 * socket of its own, up to a minute later. */
#ifndef PIPEGATE_WATCH_H
#define PIPEGATE_WATCH_H

#include "broker/core/deadline.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	/* The silence after which a Ping is due. A lost peer is found within 30 s, a tick
	 * included. */
	WATCH_PING_AFTER_MS = 19000,
	/* A Pong must arrive within this time; or the peer must still be taking what was written
	 * before the Ping. */
	WATCH_PONG_WITHIN_MS = 10000,
	/* The peer's Close must arrive within this time. */
	WATCH_CLOSE_WAIT_MS = 5000,
	/* Limit on sockets that close after a bad token; beyond it, the oldest is cut. */
	WATCH_REFUSED_MAX = 1024,
};

/* One WebSocket, embedded by its owner. Zero: not watched. */
struct watched {
	struct deadlines *list; /* the one that `deadline` is on; NULL: none */
	struct deadline deadline;
	int64_t heard_ms;      /* when the last bytes arrived; the owner sets it */
	int64_t asked_ms;      /* when the last Ping was due */
	int64_t written_bytes; /* of messages; the owner counts them */
	/* written_bytes at asked_ms: the Pong follows when the peer has read this many. */
	int64_t before_bytes;
	/* Bytes that the peer's kernel had acknowledged at asked_ms, or at the last look. */
	int64_t taken_bytes;
	bool paused; /* the owner reads nothing, so no Pong arrives */
};

struct watch_calls {
	/* The peer gave a sign of life: a Ping that has not been sent is not needed any more. */
	void (*alive)(struct watched *s);
	void (*ping)(struct watched *s);
	/* Ends the connection. It is not watched any more. */
	void (*cut)(struct watched *s);
	/* The peer has closed its side, or the connection is broken: it shows where nothing is
	 * read, too. */
	bool (*has_ended)(const struct watched *s);
	/* Written bytes that the peer's kernel has not acknowledged. */
	int64_t (*unsent_bytes)(const struct watched *s);
};

/* Zero-initialise but for `calls`; end with watch_fini(). */
struct watch {
	const struct watch_calls *calls;
	struct deadlines silences, pongs, closings, refused;
	size_t refused_count;
};

void watch_start(struct watch *w, struct watched *s, int64_t now_ms);
/* Sets s->paused. When reading resumes, the peer gets the whole time for its Pong again, which
 * may lie unread. */
void watch_pause(struct watch *w, struct watched *s, bool paused, int64_t now_ms);
/* Instead of silence, waits for the peer's Close. Also bounds how long a peer that reads nothing
 * delays ours. */
void watch_closing(struct watch *w, struct watched *s, int64_t now_ms);
/* The same after a bad token. May cut the oldest of this kind, which can be `s`. */
void watch_refused(struct watch *w, struct watched *s, int64_t now_ms);
/* The Ping that watch_calls.ping() asked for has been written. */
void watch_ping_sent(struct watched *s);
void watch_cut(struct watch *w, struct watched *s);
void watch_stop(struct watch *w, struct watched *s); /* does nothing if it is not watched */
void watch_tick(struct watch *w, int64_t now_ms);
void watch_fini(struct watch *w);

#endif
