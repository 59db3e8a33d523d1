/* client/dialer.h - Establishes the client's connections to a local app and to the server. The only
 * file of the client that includes curl.h: libcurl resolves names without blocking the loop, tries
 * all addresses of both families (RFC 8305), and handles proxies and TLS. conn.h uses the
 * connections. */
#ifndef PIPEGATE_DIALER_H
#define PIPEGATE_DIALER_H

#include "client/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct dialer; /* one destination */
struct dialer_attempt;

struct dialer *dialer_new_to_target(uv_loop_t *loop, const struct target *target);

/* Through the proxy that the environment names for the server, if any. */
struct dialer *dialer_new_to_server(uv_loop_t *loop, const struct tunnel_server *server);

/* Call after the last attempt has ended. Run the loop once more after it. */
void dialer_destroy(struct dialer **dp);

bool dialer_is_to_server(const struct dialer *d);
uv_loop_t *dialer_loop(const struct dialer *d);

/* Starts an attempt to connect. `over` is called once, from the loop, with the connected
 * descriptor, or with -1 after a failure (dialer_why() has the reason). With TLS, the attempt owns
 * the descriptor, and all bytes pass through it; without TLS, the caller owns it. */
struct dialer_attempt *dialer_start(struct dialer *d, void (*over)(void *ctx, int fd), void *ctx);

/* May be called at any time, also from `over`. Closes a connection that uses TLS. */
void dialer_end(struct dialer_attempt **ap);

bool dialer_has_tls(const struct dialer_attempt *a);

/* Transfers bytes of a connection that uses TLS. After DIALER_BROKEN, dialer_error() is the errno;
 * 0: unknown. */
enum dialer_result { DIALER_OK, DIALER_WAIT, DIALER_BROKEN };
enum dialer_result dialer_receive(struct dialer_attempt *a, void *out, size_t bytes, size_t *got);
enum dialer_result dialer_send(struct dialer_attempt *a, const void *data, size_t bytes,
			       size_t *sent);
int dialer_error(const struct dialer_attempt *a);

const char *dialer_why(const struct dialer_attempt *a);	    /* fit to be logged in quotes */
const char *dialer_address(const struct dialer_attempt *a); /* "ADDRESS:PORT", or "-" */
bool dialer_is_proxied(const struct dialer_attempt *a);	    /* through an HTTP proxy */

/* Call once per program, before the first and after the last dialer. */
void dialer_library_start(void);
void dialer_library_stop(void);
const char *dialer_library_version(void);

#endif
