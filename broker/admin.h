/* broker/admin.h - What PIPEGATE_ADMIN serves: GET /metrics and /healthz. */
#ifndef PIPEGATE_ADMIN_H
#define PIPEGATE_ADMIN_H

#include "common/httpd.h"

/* The context of its handlers is a struct hub. */
extern const struct httpd_route admin_routes[];

#endif
