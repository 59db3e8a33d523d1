/* broker/core/stats.h - Counters, and their Prometheus text for PIPEGATE_ADMIN. */
#ifndef PIPEGATE_STATS_H
#define PIPEGATE_STATS_H

#include "common/fail.h"

#include <stddef.h>
#include <stdint.h>

/* The core counts most of these. broker/admin.c reads the others from the modules that know them:
 * `websockets`, `pending`, `refused_total`, most of `refusals`, `hooks_lost_total`, and what the
 * kernel knows of the process. */
/*  field                 metric                                  type      help */
#define STATS_TABLE(X)                                                                             \
	X(tunnels, "pipegate_tunnels", "gauge", "Tunnels open now.")                               \
	X(running, "pipegate_exchanges_running", "gauge", "Exchanges running on a tunnel.")        \
	X(queued, "pipegate_exchanges_queued", "gauge", "Requests waiting for a tunnel.")          \
	X(open, "pipegate_exchanges_open", "gauge",                                                \
	  "Exchanges, until their responder has fetched the end.")                                 \
	X(websockets, "pipegate_websockets", "gauge",                                              \
	  "Callers' WebSockets, and handshakes under way.")                                        \
	X(pending, "pipegate_connections_unauthenticated", "gauge",                                \
	  "Connections to the listener that are pending: no tunnel and no WebSocket yet.")         \
	X(tunnels_total, "pipegate_tunnels_total", "counter", "Tunnels opened.")                   \
	X(refused_total, "pipegate_tunnels_refused_total", "counter",                              \
	  "Tunnels refused because of their token or address.")                                    \
	X(held_bytes, "pipegate_buffer_bytes", "gauge",                                            \
	  "Bytes held for requests, responses and tunnels of all connection ids.")                 \
	X(window_bytes, "pipegate_window_bytes", "gauge",                                          \
	  "Bytes that receive windows have beyond their first 256 KiB.")                           \
	X(full_ids, "pipegate_ids_over_budget", "gauge",                                           \
	  "Connection ids whose tunnels are not read because they hold too many bytes.")           \
	X(reconnects_total, "pipegate_tunnel_reconnects_total", "counter",                         \
	  "Tunnels opened for a connection id that had one before.")                               \
	X(replaced_total, "pipegate_tunnels_replaced_total", "counter",                            \
	  "Tunnels closed because their client opened another.")                                   \
	X(over_limit_total, "pipegate_tunnels_over_limit_total", "counter",                        \
	  "Tunnels closed because their connection id had too many.")                              \
	X(messages_refused_total, "pipegate_v1_messages_refused_total", "counter",                 \
	  "Messages of v1 clients that are not a valid response.")                                 \
	X(hooks_lost_total, "pipegate_hooks_lost_total", "counter",                                \
	  "Events for which the hook program was not run, or failed.")                             \
	X(start_time_s, "process_start_time_seconds", "gauge", "Start of the broker, Unix time.")  \
	X(open_fds, "process_open_fds", "gauge", "Open descriptors of the broker.")                \
	X(max_fds, "process_max_fds", "gauge", "Limit on them.")                                   \
	X(resident_bytes, "process_resident_memory_bytes", "gauge",                                \
	  "Resident memory of the broker.")                                                        \
	X(request_bytes, "pipegate_request_body_bytes_total", "counter",                           \
	  "Request body bytes received.")                                                          \
	X(response_bytes, "pipegate_response_body_bytes_total", "counter",                         \
	  "Response body bytes sent to responders.")

/* Buckets of a histogram, upper bounds in milliseconds; Prometheus gets seconds. */
/* clang-format off */
#define STATS_BUCKETS(X)                                                                           \
	X(1) X(5) X(10) X(25) X(50) X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(30000) \
	X(60000) X(300000)
/* clang-format on */

enum {
#define X(ms) +1
	STATS_BUCKET_COUNT = 0 STATS_BUCKETS(X),
#undef X
	STATS_CLASSES = 5, /* of statuses: 1xx to 5xx */
	/* Limit on what a peer may add to a sum at once. */
	STATS_OBSERVED_MAX_MS = 24 * 3600 * 1000,
};

/* The parts of a request's way until its response head. */
#define STATS_HOPS(X)                                                                              \
	X(WEB, "web")	    /* in the responder, before the broker gets it */                      \
	X(QUEUE, "queue")   /* in the broker, until a tunnel takes it */                           \
	X(TUNNEL, "tunnel") /* from there to the head, without the app's time */                   \
	X(APP, "app")	    /* from the client's OPEN to the app's head; v1: with the tunnel's */

enum stats_hop {
#define X(name, label) STATS_##name,
	STATS_HOPS(X)
#undef X
		STATS_HOP_COUNT
};

/* Why a tunnel was refused. */
#define STATS_REFUSALS(X)                                                                          \
	X(MISSING, "missing-token")                                                                \
	X(INVALID, "invalid-token")                                                                \
	X(EXPIRED, "expired-token")                                                                \
	X(EARLY, "token-not-yet-valid")                                                            \
	X(REVOKED, "revoked-token")                                                                \
	X(OTHER_ID, "other-id")                                                                    \
	X(ADDRESS, "address-of-a-tunnel")                                                          \
	X(TOO_MANY, "too-many-tunnels")

enum stats_refusal {
#define X(name, label) STATS_REFUSED_##name,
	STATS_REFUSALS(X)
#undef X
		STATS_REFUSAL_COUNT
};

struct stats_histogram {
	uint64_t counts[STATS_BUCKET_COUNT + 1]; /* the last one: above all bounds */
	uint64_t sum_ms;
};

void stats_observe(struct stats_histogram *h, int64_t ms);

struct stats {
#define X(field, metric, type, help) uint64_t field;
	STATS_TABLE(X)
#undef X
	uint64_t outcomes[FAIL_COUNT];	 /* finished requests; FAIL_NONE: the local app responded */
	uint64_t classes[STATS_CLASSES]; /* response heads of apps, by status */
	uint64_t refusals[STATS_REFUSAL_COUNT];
	struct stats_histogram hops[STATS_HOP_COUNT];
	struct stats_histogram requests; /* from the broker's OPEN to the end */
	struct stats_histogram loop_lag; /* how late the loop's timer fired */
};

/* The text; the caller frees it. */
char *stats_text(const struct stats *s, size_t *bytes);

#endif
