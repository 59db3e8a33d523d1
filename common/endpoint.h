/* common/endpoint.h - Listening at "ADDR:PORT" or "unix:PATH". */
#ifndef PIPEGATE_ENDPOINT_H
#define PIPEGATE_ENDPOINT_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

enum { ENDPOINT_TEXT_BYTES = 160 };

/* Instead of an address: the listening socket passed by systemd, see endpoint_inherited(). */
#define ENDPOINT_INHERITED "inherited"

bool endpoint_valid(const char *spec); /* has one of the two forms */

/* Returns a listening stream socket, close-on-exec, blocking. ADDR may be a name, an IPv4 address
 * or an IPv6 address in brackets; PORT 0 chooses a free port. Unix sockets: see
 * socket_claim_listen(). -1: `why` is the reason. */
int endpoint_listen(const char *spec, const char *socket_group, int backlog, char *why,
		    size_t why_bytes) MUST_CHECK;

/* A listening socket that does not block. */
struct endpoint {
	int fd;
	char *unix_path; /* NULL: not a unix socket that we made */
	char shown[ENDPOINT_TEXT_BYTES];
};

/* Opens it by endpoint_listen(). False: one line on stderr names the setting and the reason. */
bool endpoint_open(struct endpoint *e, const char *spec, const char *setting_name,
		   const char *socket_group, int backlog) MUST_CHECK;

/* Removes the name of a unix socket that we made, then closes the socket unless e->fd is -1
 * (a library owns the descriptor). The name must be removed before the socket is closed: later
 * it may belong to another process. */
void endpoint_close(struct endpoint *e);

/* Checks what systemd has passed to this process (LISTEN_FDS, sd_listen_fds(3)). 1: one listening
 * stream socket, which endpoint_listen(ENDPOINT_INHERITED, ...) then returns. 0: nothing. -1:
 * anything else. */
int endpoint_inherited(void) MUST_CHECK;

/* Writes the address at which `fd` listens, with the port that was chosen for PORT 0. */
void endpoint_show(int fd, const char *spec, char out[ENDPOINT_TEXT_BYTES]);

#endif
