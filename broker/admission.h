/* broker/admission.h - What a request head at the listener wants: a tunnel, a caller's
 * WebSocket, or one of the few plain answers (contract section 4). */
#ifndef PIPEGATE_ADMISSION_H
#define PIPEGATE_ADMISSION_H

#include "broker/core/hub.h"
#include "broker/listener.h"
#include "broker/ws_relay.h"
#include "broker/ws.h"

struct admission {
	const struct config *config;
	struct hub *hub;
	struct ws *ws;
	struct ws_relays *ws_relays;
	uint64_t refused_total; /* tunnels; zero at first */
};

/* listener_fn; ctx is a struct admission. */
void admission_on_request(void *ctx, const struct listener_request *r,
			  struct listener_response *out);

#endif
