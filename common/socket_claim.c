/* common/socket_claim.c - see socket_claim.h. The lock is flock() on PATH.lock, a file of mode
 * 0600 that exists while the lock is held. The directory itself cannot be the lock: every user can
 * open it, and so could hold it. The kernel releases the lock of a process that dies; the file that
 * is left is used and removed by the next process. */
#include "common/socket_claim.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(char *why, size_t why_bytes, const char *what, int error)
{
	if (error != 0)
		snprintf(why, why_bytes, "%s: %s", what, strerror(error));
	else
		snprintf(why, why_bytes, "%s", what);
	return -1;
}

static int address_of(const char *path, struct sockaddr_un *out, char *why, size_t why_bytes)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (*path == '\0' || strlen(path) >= sizeof out->sun_path)
		return fail(why, why_bytes, "not a path of 1 to 107 bytes", 0);
	strcpy(out->sun_path, path);
	return 0;
}

/* Returns whether a process may be listening: any result but ECONNREFUSED and ENOENT counts. */
static bool is_live(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool live = true;

	if (fd < 0)
		return true;
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
		live = errno != ECONNREFUSED && errno != ENOENT;
	close(fd);
	return live;
}

/* --- the lock --- */

enum { LOCK_RETRY_MS = 20 };

/* Returns 0 if the lock is now held, otherwise an errno. EWOULDBLOCK: another process holds it.
 * EACCES: the lock file belongs to another user. O_NONBLOCK: opening a FIFO must not block. */
static int try_lock(struct socket_claim *c)
{
	struct stat opened, named;

	c->lock_fd =
		open(c->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (c->lock_fd < 0)
		return errno;
	int error = 0;
	if (flock(c->lock_fd, LOCK_EX | LOCK_NB) != 0 || fstat(c->lock_fd, &opened) != 0)
		error = errno;
	else if (!S_ISREG(opened.st_mode))
		error = EINVAL;
	else if (lstat(c->lock_path, &named) != 0 || named.st_ino != opened.st_ino ||
		 named.st_dev != opened.st_dev)
		error = EWOULDBLOCK; /* its holder has removed it between our open and our lock */
	if (error != 0) {
		close(c->lock_fd);
		c->lock_fd = -1;
	}
	return error;
}

/* Removes the file before it releases the lock. A process that locks the old file then notices that
 * it has lost its name (see try_lock()). */
void socket_claim_release(struct socket_claim *c)
{
	if (c->lock_fd < 0)
		return;
	unlink(c->lock_path);
	close(c->lock_fd);
	c->lock_fd = -1;
}

static int lock(struct socket_claim *c, const char *path, char *why, size_t why_bytes)
{
	const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000L};
	int64_t until_ms = clock_now_ms() + CLAIM_WAIT_MS;
	int error, absent = 0;

	snprintf(c->lock_path, sizeof c->lock_path, "%s.lock", path);
	while ((error = try_lock(c)) == EWOULDBLOCK || error == EACCES) {
		/* EACCES, but the file did not exist, twice: the directory is not writable, and
		 * waiting does not help. */
		if (error == EACCES && access(c->lock_path, F_OK) != 0 && ++absent == 2)
			break;
		if (clock_now_ms() >= until_ms)
			break;
		nanosleep(&pause, NULL);
	}
	if (error == 0)
		return 0;
	if (error == EWOULDBLOCK)
		snprintf(why, why_bytes, "another process has held %s for %d s", c->lock_path,
			 CLAIM_WAIT_MS / 1000);
	else
		snprintf(why, why_bytes, "cannot lock %s: %s", c->lock_path, strerror(error));
	return -1;
}

/* --- the path --- */

int socket_claim_path(struct socket_claim *c, const char *path, char *why, size_t why_bytes)
{
	struct sockaddr_un address;
	struct stat st;
	int result = 0;

	c->lock_fd = -1;
	if (address_of(path, &address, why, why_bytes) != 0 || lock(c, path, why, why_bytes) != 0)
		return -1;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			result = fail(why, why_bytes, "exists and is not a socket", 0);
		else if (is_live(&address))
			result = fail(why, why_bytes, "in use: a live process listens there", 0);
		else if (unlink(path) != 0)
			result = fail(why, why_bytes, "cannot replace the dead socket", errno);
	}
	if (result != 0)
		socket_claim_release(c);
	return result;
}

int socket_claim_set_group(const char *path, const char *group, char *why, size_t why_bytes)
{
	if (group == NULL)
		return 0;
	errno = 0;
	const struct group *g = getgrnam(group);
	if (g == NULL)
		return fail(why, why_bytes, "no such socket group", errno);
	if (chown(path, (uid_t)-1, g->gr_gid) != 0)
		return fail(why, why_bytes, "cannot give it to the socket group", errno);
	return 0;
}

static int bind_and_listen(const struct sockaddr_un *address, int backlog, char *why,
			   size_t why_bytes)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail(why, why_bytes, "socket", errno);
	mode_t old = umask(0117); /* mode 0660 from its creation */
	int result = bind(fd, (const struct sockaddr *)address, sizeof *address);
	int bind_errno = errno;
	umask(old);
	if (result != 0) {
		close(fd);
		return fail(why, why_bytes, "cannot bind", bind_errno);
	}
	if (listen(fd, backlog) != 0) {
		fail(why, why_bytes, "cannot listen", errno);
		close(fd);
		return -1;
	}
	return fd;
}

int socket_claim_listen(const char *path, const char *group, int backlog, char *why,
			size_t why_bytes)
{
	struct sockaddr_un address;
	struct socket_claim c;

	if (address_of(path, &address, why, why_bytes) != 0 ||
	    socket_claim_path(&c, path, why, why_bytes) != 0)
		return -1;
	int fd = bind_and_listen(&address, backlog, why, why_bytes);
	if (fd >= 0 && socket_claim_set_group(path, group, why, why_bytes) != 0) {
		unlink(path);
		close(fd);
		fd = -1;
	}
	socket_claim_release(&c);
	return fd;
}
