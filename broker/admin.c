/* broker/admin.c - see admin.h. */
#include "broker/admin.h"

#include <string.h>

static void respond_metrics(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	const struct admin *admin = ctx;
	struct stats stats = *hub_stats(admin->hub);

	stats.websockets = ws_relays_count(admin->ws_relays);
	stats.pending = listener_pending_count(admin->listener);
	stats.refused_total = admin->admission->refused_total;
	(void)r;
	out->content_type = "text/plain; version=0.0.4; charset=utf-8";
	out->body = stats_text(&stats, &out->body_bytes);
}

static void respond_health(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	(void)ctx;
	(void)r;
	out->content_type = "application/json";
	out->body = xstrdup("{\"status\":\"ok\"}");
	out->body_bytes = strlen(out->body);
}

const struct httpd_route admin_routes[] = {
	{"GET", "/metrics", respond_metrics},
	{"GET", "/healthz", respond_health},
	{NULL, NULL, NULL},
};
