/* common/claim.c - see claim.h. The lock is flock() on the directory itself: it leaves no file behind,
 * and goes with the process. */
#include "common/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
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

/* Somebody answers, or might: anything but a plain refusal counts as alive. */
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

int claim_path(struct claim *c, const char *path, char *why, size_t why_bytes)
{
	struct sockaddr_un address;
	struct stat st;
	char copy[sizeof address.sun_path];

	if (address_of(path, &address, why, why_bytes) != 0)
		return -1;
	strcpy(copy, path);
	c->directory_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->directory_fd < 0)
		return fail(why, why_bytes, "cannot open its directory", errno);
	if (flock(c->directory_fd, LOCK_EX) != 0) {
		fail(why, why_bytes, "cannot lock its directory", errno);
		claim_release(c);
		return -1;
	}
	int result = 0;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			result = fail(why, why_bytes, "exists and is no socket", 0);
		else if (is_live(&address))
			result = fail(why, why_bytes, "in use: a live process listens there", 0);
		else if (unlink(path) != 0)
			result = fail(why, why_bytes, "cannot replace the dead socket", errno);
	}
	if (result != 0)
		claim_release(c);
	return result;
}

void claim_release(struct claim *c)
{
	if (c->directory_fd >= 0)
		close(c->directory_fd);
	c->directory_fd = -1;
}

int claim_set_group(const char *path, const char *group, char *why, size_t why_bytes)
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
	mode_t old = umask(0117); /* 0660 from the first moment on */
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

int claim_listen(const char *path, const char *group, int backlog, char *why, size_t why_bytes)
{
	struct sockaddr_un address;
	struct claim c;

	if (address_of(path, &address, why, why_bytes) != 0 ||
	    claim_path(&c, path, why, why_bytes) != 0)
		return -1;
	int fd = bind_and_listen(&address, backlog, why, why_bytes);
	if (fd >= 0 && claim_set_group(path, group, why, why_bytes) != 0) {
		unlink(path);
		close(fd);
		fd = -1;
	}
	claim_release(&c);
	return fd;
}
