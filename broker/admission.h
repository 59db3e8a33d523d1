/* broker/admission.h - Decides what a request at the listener gets: a tunnel, a caller's WebSocket,
 * or a response (contract section 4). */
#ifndef PIPEGATE_ADMISSION_H
#define PIPEGATE_ADMISSION_H

#include "broker/auth.h"
#include "broker/core/hub.h"
#include "broker/listener.h"
#include "broker/ws_relay.h"
#include "broker/ws.h"

struct admission {
	const struct auth *auth;
	struct hub *hub;
	struct ws *ws;
	struct ws_relays *ws_relays;
	/* Tunnels; zero at first. */
	uint64_t refused_total, refused[STATS_REFUSAL_COUNT];
};

/* A listener_fn. `ctx`: a struct admission. */
void admission_on_request(void *ctx, const struct listener_request *r,
			  struct listener_response *out);

#endif
