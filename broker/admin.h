/* broker/admin.h - What PIPEGATE_ADMIN serves: GET /metrics and /healthz. */
#ifndef PIPEGATE_ADMIN_H
#define PIPEGATE_ADMIN_H

#include "broker/admission.h"
#include "broker/hook.h"
#include "common/httpd.h"

/* The modules that /metrics reads. */
struct admin {
	const struct hub *hub;
	const struct ws_relays *ws_relays;
	const struct listener *listener;
	const struct admission *admission;
	const struct hook *hook; /* NULL: none */
	int64_t started_s;	 /* Unix time */
};

/* For httpd_new(); the context of the handlers is a struct admin. */
extern const struct httpd_route admin_routes[];

#endif
