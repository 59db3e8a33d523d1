/* common/socket_claim.h - Claims the path of a unix socket: the socket of a process that has ended
 * is replaced; the socket of a live process is never replaced (contract section 1). */
#ifndef PIPEGATE_SOCKET_CLAIM_H
#define PIPEGATE_SOCKET_CLAIM_H

#include "common/check.h"

#include <stddef.h>
#include <sys/un.h>

/* Limit on the wait for another program that is claiming the same path. */
enum { CLAIM_WAIT_MS = 5000 };

/* While it is held, no other program of ours can claim the same path. */
struct socket_claim {
	int lock_fd; /* -1: not held */
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
};

/* Locks the path, checks that no process listens there, and removes the socket of a process that
 * has ended. Waits up to CLAIM_WAIT_MS for the lock. 0: bind now, then call
 * socket_claim_release(). -1: `why` is the reason, and nothing is held. */
int socket_claim_path(struct socket_claim *c, const char *path, char *why,
		      size_t why_bytes) MUST_CHECK;
void socket_claim_release(struct socket_claim *c);

/* Changes the group of the file, by name; NULL leaves it unchanged. 0, or -1 and `why`. */
int socket_claim_set_group(const char *path, const char *group, char *why,
			   size_t why_bytes) MUST_CHECK;

/* Does all of the above: returns the descriptor of a listening stream socket of mode 0660 at
 * `path`, close-on-exec; or -1 and `why`. */
int socket_claim_listen(const char *path, const char *group, int backlog, char *why,
			size_t why_bytes) MUST_CHECK;

#endif
