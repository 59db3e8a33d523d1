/* broker/admin.c - see admin.h. */
#include "broker/admin.h"

#include "broker/core/hub.h"

#include <string.h>

static void say_metrics(void *ctx, struct httpd_response *out)
{
	struct hub *hub = ctx;

	out->content_type = "text/plain; version=0.0.4; charset=utf-8";
	out->body = stats_text(hub_stats(hub), &out->body_bytes);
}

static void say_health(void *ctx, struct httpd_response *out)
{
	(void)ctx;
	out->content_type = "application/json";
	out->body = xstrdup("{\"status\":\"ok\"}");
	out->body_bytes = strlen(out->body);
}

const struct httpd_route admin_routes[] = {
	{"/metrics", say_metrics},
	{"/healthz", say_health},
	{NULL, NULL},
};
