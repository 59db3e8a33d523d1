/* broker/core/view.c - see view.h. */
#include "broker/core/view.h"

#include "broker/core/core.h"

#include <string.h>

void view_tunnels(const struct hub *h, const char *id, view_tunnel_fn fn, void *ctx)
{
	const struct tunnel *t;

	TAILQ_FOREACH (t, &h->tunnels, all) {
		if (id != NULL && strcmp(id, t->id) != 0)
			continue;
		const struct tunnel_view v = {
			.id = t->id,
			.subject = t->grant.subject,
			.jti = t->grant.jti,
			.protocol = t->protocol->name,
			.state = tunnel_state_name(t->state),
			.agent = t->agent,
			.address = t->address,
			.number = t->number,
			.age_ms = h->now_ms - t->since_ms,
			.expires_in_ms = t->expires_ms - h->now_ms,
			.rtt_ms = t->v2.rtt.least_ms,
			.running = t->running_count,
			.max_running = t->max_running,
			.websockets = t->websocket_count,
			.requests = t->requests,
			.in_bytes = t->in_bytes,
			.out_bytes = t->out_bytes,
			.held_bytes = t->out_charge + t->message_bytes,
		};
		fn(ctx, &v);
	}
}

void view_exchanges(const struct hub *h, const char *id, size_t max, view_exchange_fn fn, void *ctx)
{
	const struct exchange *x;

	for (x = h->exchanges; x != NULL && max > 0; x = x->hh.next) {
		if (strcmp(x->home->id, id) != 0)
			continue;
		const struct exchange_view v = {
			.state = exchange_state_name(x->state),
			.corr = x->corr,
			.tunnel = x->log.tunnel,
			.websocket = x->websocket,
			.age_ms = h->now_ms - x->opened_ms,
			.up_bytes = x->up_bytes,
			.down_bytes = x->log.down_bytes,
		};
		fn(ctx, &v);
		max--;
	}
}

bool view_id(struct hub *h, const char *id, struct id_view *out)
{
	const struct group *g = group_find(h, id, strlen(id));

	if (g == NULL)
		return false;
	*out = (struct id_view){
		.tunnels = g->tunnel_count,
		.queued = g->queued,
		.exchanges = g->users - g->tunnel_count - g->greeting_count - g->closing_count,
		.websockets = g->sockets,
		.held_bytes = g->held_bytes,
		.seen = g->seen,
	};
	return true;
}
