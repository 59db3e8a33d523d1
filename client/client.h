/* client/client.h - The running client: one loop with a tunnel and its app. A request arrives in
 * link.c, becomes a stream in v2.c (or a call in v1.c), and is sent to the app by fetch.c. A tunnel
 * is a link and the fetch_engine of its app; neither has static state, so a process may run
 * several. */
#ifndef PIPEGATE_CLIENT_H
#define PIPEGATE_CLIENT_H

#include "client/settings.h"

/* Returns after SIGTERM or SIGINT, or after the server has refused the token. The result is the
 * exit code. */
int client_run(const struct settings *settings);

#endif
