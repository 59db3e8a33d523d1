/* broker/core/dump.c - see dump.h. */
#include "broker/core/dump.h"

#include "broker/core/core.h"
#include "common/id.h"
#include "common/log.h"

static void dump_tunnel(const struct tunnel *t)
{
	log_info("dump.tunnel conn=%s tunnel=%llu protocol=%s state=%s age_ms=%lld running=%zu "
		 "websockets=%zu queued_of_id=%zu held_bytes=%zu held_bytes_of_id=%zu paused=%d "
		 "rtt_ms=%lld",
		 t->id, (unsigned long long)t->number, t->protocol->name,
		 tunnel_state_name(t->state), (long long)(t->hub->now_ms - t->since_ms),
		 t->running_count, t->websocket_count, t->home->queued,
		 t->out_charge + t->message_bytes, t->home->held_bytes, t->paused,
		 (long long)t->v2.rtt.least_ms);
}

static void dump_exchange(const struct exchange *x)
{
	char corr_hex[2 * CORR_BYTES + 1];

	id_to_hex(x->corr, CORR_BYTES, corr_hex);
	log_info("dump.exchange conn=%s corr=%s state=%s age_ms=%lld tunnel=%llu websocket=%d "
		 "up_bytes=%lld down_bytes=%lld held_bytes=%zu window_bytes=%lld",
		 x->home->id, corr_hex, exchange_state_name(x->state),
		 (long long)(x->hub->now_ms - x->opened_ms), (unsigned long long)x->log.tunnel,
		 x->websocket, (long long)x->up_bytes, (long long)x->log.down_bytes, x->held_bytes,
		 (long long)x->v2.flow.window_bytes);
}

void dump_hub(const struct hub *h)
{
	size_t tunnels = 0, exchanges = 0, closing = 0, all = HASH_COUNT(h->exchanges);
	const struct tunnel *t;
	const struct exchange *x;

	TAILQ_FOREACH (t, &h->tunnels, all) {
		if (tunnels++ < DUMP_ROWS_MAX)
			dump_tunnel(t);
	}
	TAILQ_FOREACH (t, &h->dead_tunnels, all)
		closing++;
	for (x = h->exchanges; x != NULL && exchanges < DUMP_ROWS_MAX; x = x->hh.next) {
		dump_exchange(x);
		exchanges++;
	}
	log_info("dump.end tunnels=%zu tunnels_left_out=%zu tunnels_closing=%zu exchanges=%zu "
		 "exchanges_left_out=%zu running=%llu queued=%llu held_bytes=%llu",
		 tunnels, tunnels > DUMP_ROWS_MAX ? tunnels - DUMP_ROWS_MAX : 0, closing, all,
		 all - exchanges, (unsigned long long)h->stats.running,
		 (unsigned long long)h->stats.queued, (unsigned long long)h->stats.held_bytes);
}
