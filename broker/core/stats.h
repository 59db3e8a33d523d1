/* broker/core/stats.h - Counters, and their Prometheus text for PIPEGATE_ADMIN. */
#ifndef PIPEGATE_STATS_H
#define PIPEGATE_STATS_H

#include "common/fail.h"

#include <stddef.h>
#include <stdint.h>

/* The core counts all but `websockets`, `pending` and `refused_total`: broker/admin.c reads those
 * from the modules that count them. */
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
	X(over_limit_total, "pipegate_tunnels_over_limit_total", "counter",                        \
	  "Tunnels closed because their connection id had too many.")                              \
	X(messages_refused_total, "pipegate_v1_messages_refused_total", "counter",                 \
	  "Messages of v1 clients that are not a valid response.")                                 \
	X(request_bytes, "pipegate_request_body_bytes_total", "counter",                           \
	  "Request body bytes received.")                                                          \
	X(response_bytes, "pipegate_response_body_bytes_total", "counter",                         \
	  "Response body bytes sent to responders.")

struct stats {
#define X(field, metric, type, help) uint64_t field;
	STATS_TABLE(X)
#undef X
	uint64_t outcomes[FAIL_COUNT]; /* finished requests; FAIL_NONE: the local app responded */
};

/* The text; the caller frees it. */
char *stats_text(const struct stats *s, size_t *bytes);

#endif
