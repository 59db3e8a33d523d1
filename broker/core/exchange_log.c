/* broker/core/exchange_log.c - see exchange_log.h. */
#include "broker/core/exchange_log.h"

#include "broker/core/core.h"
#include "common/access_log.h"
#include "common/head.h"
#include "common/http.h"
#include "common/id.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

void exchange_log_state(const struct exchange *x, const char *from, const char *to)
{
	char corr_hex[2 * CORR_BYTES + 1];

	if (!log_verbose)
		return;
	id_to_hex(x->corr, CORR_BYTES, corr_hex);
	log_debug("exchange.state conn=%s corr=%s tunnel=%llu from=%s to=%s code=%s", x->home->id,
		  corr_hex, (unsigned long long)x->log.tunnel, from, to, fail_code(x->fail));
}

void exchange_log_open(struct exchange *x, const struct gate_msg *m)
{
	x->log.request = access_log_request_of(m->head, m->head_bytes);
	x->log.web_ms = m->web_ms;
	x->log.app_ms = -1;
}

void exchange_log_take(struct exchange *x, const struct tunnel *t)
{
	x->log.tunnel = t->number;
	x->log.taken_ms = x->hub->now_ms;
}

void exchange_log_head(struct exchange *x, const void *head, size_t head_bytes)
{
	struct head_field f;
	long long status, app_ms;

	x->log.head_ms = x->hub->now_ms;
	if (head_find(head, head_bytes, ":app-ms", &f) &&
	    http_length_parse(f.value, f.value_bytes, &app_ms))
		x->log.app_ms = app_ms;
	if (head_find(head, head_bytes, ":status", &f) &&
	    http_length_parse(f.value, f.value_bytes, &status) && status <= 999)
		x->log.status = (int)status;
}

/* A caller's WebSocket lasts as long as its caller likes, so only its way to the head counts. */
static void count(const struct exchange *x)
{
	const struct exchange_log *l = &x->log;
	struct stats *s = &x->hub->stats;
	int64_t there_ms = l->head_ms - l->taken_ms;

	s->outcomes[x->fail]++;
	if (!x->websocket)
		stats_observe(&s->requests, x->hub->now_ms - x->opened_ms);
	if (l->tunnel == 0)
		return;
	stats_observe(&s->hops[STATS_WEB], l->web_ms);
	stats_observe(&s->hops[STATS_QUEUE], l->taken_ms - x->opened_ms);
	if (l->head_ms == 0)
		return;
	bool known = l->app_ms >= 0 && l->app_ms <= there_ms;
	stats_observe(&s->hops[STATS_APP], known ? l->app_ms : there_ms);
	if (known)
		stats_observe(&s->hops[STATS_TUNNEL], there_ms - l->app_ms);
	if (l->status >= 100 && l->status < 100 * (STATS_CLASSES + 1))
		s->classes[l->status / 100 - 1]++;
}

void exchange_log_end(struct exchange *x)
{
	const struct exchange_log *l = &x->log;
	char corr_hex[2 * CORR_BYTES + 1];
	bool maybe_delivered = exchange_maybe_delivered(x);

	count(x);
	if (l->request == NULL)
		return;
	id_to_hex(x->corr, CORR_BYTES, corr_hex);
	const struct access_log_line line = {
		.conn = x->home->id,
		.corr = corr_hex,
		.request = l->request,
		.status = exchange_is_over(x) && !x->head_given ? fail_status(x->fail, !x->refused)
								: l->status,
		.fail = x->fail,
		.delivered = maybe_delivered ? "maybe" : "no",
		.up_bytes = x->up_bytes,
		.down_bytes = l->down_bytes,
		.numbers = {{"queued_ms", l->tunnel != 0 ? l->taken_ms - x->opened_ms : -1},
			    {"head_ms", l->head_ms != 0 ? l->head_ms - x->opened_ms : -1},
			    {"ms", x->hub->now_ms - x->opened_ms},
			    {"tunnel", l->tunnel != 0 ? (int64_t)l->tunnel : -1}},
	};
	access_log_put(&line);
	free(x->log.request);
	x->log.request = NULL;
}

void exchange_log_refused(const struct gate_msg *m, enum fail f)
{
	char corr_hex[2 * CORR_BYTES + 1], conn[CONNECTION_ID_MAX_BYTES + 1] = "";
	struct access_log_request *request;

	request = access_log_request_of(m->head, m->head_bytes);
	if (request == NULL)
		return;
	id_to_hex(m->corr, CORR_BYTES, corr_hex);
	if (id_connection_valid(m->id, m->id_bytes))
		memcpy(conn, m->id, m->id_bytes);
	const struct access_log_line line = {
		.conn = conn,
		.corr = corr_hex,
		.request = request,
		.status = fail_status(f, false),
		.fail = f,
		.delivered = "no",
		.up_bytes = (int64_t)m->body_bytes,
		.numbers = {{"ms", 0}},
	};
	access_log_put(&line);
	free(request);
}
