/* client/host_hint.h - Tells the user, once, that the app refuses the public Host, and which option
 * helps. Vite, webpack-dev-server, Jupyter, Django and MCP servers respond with 400, 403 or 421
 * then. */
#ifndef PIPEGATE_HOST_HINT_H
#define PIPEGATE_HOST_HINT_H

#include "client/settings.h"

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialise; one per target. */
struct host_hint {
	bool given;
};

/* `data` is the first piece of a response's body. */
void host_hint_on_body(struct host_hint *h, const struct target *t, int status, const char *data,
		       size_t bytes);

#endif
