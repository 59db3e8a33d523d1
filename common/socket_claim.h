/* common/socket_claim.h - Taking the name of a unix socket: a dead one of the same name is
 * replaced, one that a live process holds is refused (contract section 1). */
#ifndef PIPEGATE_SOCKET_CLAIM_H
#define PIPEGATE_SOCKET_CLAIM_H

#include "common/check.h"

#include <stddef.h>
#include <sys/un.h>

enum { CLAIM_WAIT_MS = 5000 }; /* for another program that is claiming the same name */

/* While held, no other program of ours can claim the same name. */
struct socket_claim {
	int lock_fd; /* -1: nothing is held */
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
};

/* Locks the name, checks that no process listens at `path` and removes the socket of a dead one.
 * Waits up to CLAIM_WAIT_MS for the lock. 0: bind now, then socket_claim_release(). -1: `why`
 * says why not, and nothing is held. */
int socket_claim_path(struct socket_claim *c, const char *path, char *why,
		      size_t why_bytes) MUST_CHECK;
void socket_claim_release(struct socket_claim *c);

/* Gives the file to a group by name. `group` NULL: leaves the process's own. 0, or -1 and `why`. */
int socket_claim_set_group(const char *path, const char *group, char *why,
			   size_t why_bytes) MUST_CHECK;

/* All of it: a listening stream socket of mode 0660 at `path`, close-on-exec. The descriptor, or -1
 * and `why`. */
int socket_claim_listen(const char *path, const char *group, int backlog, char *why,
			size_t why_bytes) MUST_CHECK;

#endif
