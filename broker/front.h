/* broker/front.h - What a request head at the listener wants: a tunnel, a caller's WebSocket, or one of
 * the few plain answers (contract section 4). */
#ifndef PIPEGATE_FRONT_H
#define PIPEGATE_FRONT_H

#include "broker/hub.h"
#include "broker/listener.h"
#include "broker/upgrade.h"
#include "broker/ws.h"

struct front {
	struct hub *hub;
	struct ws *ws;
	struct upgrades *upgrades;
};

/* listener_fn; ctx is a struct front. */
void front_on_request(void *ctx, const struct listener_request *r, struct listener_answer *out);

/* listener_fn for PIPEGATE_ADMIN; ctx is a struct front. */
void front_on_admin_request(void *ctx, const struct listener_request *r,
			    struct listener_answer *out);

#endif
