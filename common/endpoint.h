/* common/endpoint.h - Listening at "ADDR:PORT" or "unix:PATH". */
#ifndef PIPEGATE_ENDPOINT_H
#define PIPEGATE_ENDPOINT_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

enum { ENDPOINT_TEXT_BYTES = 160 };

/* Instead of an address: the listening socket that systemd hands over, see endpoint_inherited(). */
#define ENDPOINT_INHERITED "inherited"

bool endpoint_valid(const char *spec); /* has one of the two forms */

/* A listening stream socket, close-on-exec, blocking. ADDR may be a name, an IPv4 address or an
 * IPv6 address in brackets; PORT 0 takes a free one. Unix sockets: see socket_claim_listen(). -1
 * and `why`. */
int endpoint_listen(const char *spec, const char *socket_group, int backlog, char *why,
		    size_t why_bytes) MUST_CHECK;

/* What systemd has handed to this process (LISTEN_FDS, sd_listen_fds(3)): 1 if it is one
 * listening stream socket, which endpoint_listen(ENDPOINT_INHERITED, ...) then returns; 0 if
 * nothing; -1 if anything else. */
int endpoint_inherited(void) MUST_CHECK;

/* Where it listens, with the port that it got. */
void endpoint_show(int fd, const char *spec, char out[ENDPOINT_TEXT_BYTES]);

#endif
