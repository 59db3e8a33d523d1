/* client/dialer.h - Makes the client's connections, to a local app or to the server. The only file of
 * the client that includes curl.h: libcurl resolves names beside the loop, tries all addresses of both
 * families at once (RFC 8305), speaks to proxies, and speaks TLS. conn.h uses the connections. */
#ifndef PIPEGATE_DIALER_H
#define PIPEGATE_DIALER_H

#include "client/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct dialer; /* one destination */
struct dialer_attempt;

struct dialer *dialer_new_to_target(uv_loop_t *loop, const struct target *target);

/* Through the proxy that the environment names, if it names one for the server. */
struct dialer *dialer_new_to_server(uv_loop_t *loop, const struct tunnel_server *server);

/* Call after the last attempt has ended; the loop must run once more after it. */
void dialer_destroy(struct dialer **dp);

bool dialer_is_to_server(const struct dialer *d);
uv_loop_t *dialer_loop(const struct dialer *d);

/* Starts an attempt to connect. `over` is called once, from the loop. `fd` -1: it failed, and
 * dialer_why() says why. Otherwise the descriptor is connected; with TLS it belongs to the attempt,
 * whose bytes go through it, without TLS to the caller. */
struct dialer_attempt *dialer_start(struct dialer *d, void (*over)(void *ctx, int fd), void *ctx);

/* At any time, within `over` too. Closes a connection with TLS. */
void dialer_end(struct dialer_attempt **ap);

bool dialer_has_tls(const struct dialer_attempt *a);

/* Bytes of a connection with TLS. After DIALER_BROKEN, dialer_error() is the errno; 0: unknown. */
enum dialer_result { DIALER_OK, DIALER_WAIT, DIALER_BROKEN };
enum dialer_result dialer_receive(struct dialer_attempt *a, void *out, size_t bytes, size_t *got);
enum dialer_result dialer_send(struct dialer_attempt *a, const void *data, size_t bytes,
			       size_t *sent);
int dialer_error(const struct dialer_attempt *a);

const char *dialer_why(const struct dialer_attempt *a);	    /* fit to be logged in quotes */
const char *dialer_address(const struct dialer_attempt *a); /* "ADDRESS:PORT", or "-" */
bool dialer_is_proxied(const struct dialer_attempt *a);	    /* by an HTTP proxy */

/* libcurl, once in the program: around all dialers. */
void dialer_library_start(void);
void dialer_library_stop(void);
const char *dialer_library_version(void);

#endif
