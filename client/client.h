/* client/client.h - The running client: one loop with a tunnel and the way to its app. A request comes
 * in at link.c, is a stream in v2.c (or a message in v1.c), and goes to the app by fetch.c. A tunnel
 * is a link with a fetch_engine for its app; nothing of them is static, so there may be several. */
#ifndef PIPEGATE_CLIENT_H
#define PIPEGATE_CLIENT_H

#include "client/settings.h"

/* Returns after SIGTERM or SIGINT, or once the token was refused. The result is the exit code. */
int client_run(const struct settings *settings);

#endif
