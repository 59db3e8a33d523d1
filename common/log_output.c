/* common/log_output.c - see log_output.h. */
#include "common/log_output.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* How to write to stderr without waiting for its reader. O_NONBLOCK cannot be set on descriptor 2:
 * it would affect all processes that share the open file. */
enum way {
	WAY_UNKNOWN,
	/* write(): a file always has room. */
	WAY_FILE,
	/* send() with MSG_DONTWAIT. For example systemd's journal. */
	WAY_SOCKET,
	/* write() to a pipe or terminal that we have opened a second time, with O_NONBLOCK. */
	WAY_OPENED,
	/* Where it cannot be opened: poll(), then write() of up to PIPE_BUF bytes, for which a pipe
	 * that is ready has room. */
	WAY_POLLED,
};

static struct {
	pthread_mutex_t lock; /* guards what follows */
	enum way way;
	int fd;
	size_t used;
	char bytes[LOG_OUTPUT_BYTES];
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO};

static _Thread_local bool gathers;

static void choose_way(void)
{
	struct stat status;
	int type = 0;
	socklen_t bytes = sizeof type;

	out.way = WAY_POLLED;
	if (fstat(STDERR_FILENO, &status) != 0)
		return;
	if (S_ISREG(status.st_mode)) {
		out.way = WAY_FILE;
	} else if (S_ISSOCK(status.st_mode)) {
		if (getsockopt(STDERR_FILENO, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 &&
		    type == SOCK_STREAM)
			out.way = WAY_SOCKET;
	} else {
		int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0) {
			out.way = WAY_OPENED;
			out.fd = fd;
		}
	}
}

/* Returns how many of the bytes a pipe accepts whole or not at all, so that the lines of several
 * processes do not mix: the whole lines within PIPE_BUF, or PIPE_BUF bytes of a longer line. */
static size_t atomic_bytes(const char *bytes, size_t count)
{
	if (count <= PIPE_BUF)
		return count;
	const char *newline = memrchr(bytes, '\n', PIPE_BUF);
	return newline != NULL ? (size_t)(newline - bytes) + 1 : PIPE_BUF;
}

/* Returns the number of bytes that were written, or -1 and errno. */
static ssize_t write_some(const char *bytes, size_t count)
{
	struct pollfd p = {.fd = out.fd, .events = POLLOUT};

	if (out.way == WAY_FILE)
		return write(out.fd, bytes, count);
	if (out.way == WAY_SOCKET)
		return send(out.fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (out.way == WAY_POLLED && (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))) {
		errno = EAGAIN;
		return -1;
	}
	return write(out.fd, bytes, atomic_bytes(bytes, count));
}

/* With the lock held. */
static void flush(void)
{
	size_t done = 0;

	if (out.way == WAY_UNKNOWN)
		choose_way();
	while (done < out.used) {
		ssize_t count = write_some(out.bytes + done, out.used - done);
		if (count >= 0)
			done += (size_t)count;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			done = out.used; /* stderr is closed; there is nowhere to report it */
	}
	out.used -= done;
	if (done > 0)
		memmove(out.bytes, out.bytes + done, out.used);
}

bool log_output_line(const char *line, size_t bytes, bool urgent)
{
	pthread_mutex_lock(&out.lock);
	if (bytes > sizeof out.bytes - out.used)
		flush();
	bool fits = bytes <= sizeof out.bytes - out.used;
	if (fits) {
		memcpy(out.bytes + out.used, line, bytes);
		out.used += bytes;
	}
	if (urgent || !gathers)
		flush();
	pthread_mutex_unlock(&out.lock);
	return fits;
}

bool log_output_flush(void)
{
	pthread_mutex_lock(&out.lock);
	if (out.used > 0)
		flush();
	bool all = out.used == 0;
	pthread_mutex_unlock(&out.lock);
	return all;
}

/* Later handlers of atexit(3) may still write lines, so this thread no longer gathers. */
void log_output_finish(void)
{
	int64_t until_ms = clock_now_ms() + LOG_OUTPUT_EXIT_WAIT_MS, left_ms;
	struct pollfd p = {.events = POLLOUT};

	gathers = false;
	while (!log_output_flush() && (left_ms = until_ms - clock_now_ms()) > 0) {
		p.fd = out.fd;
		(void)poll(&p, 1, (int)left_ms);
	}
}

/* CHECK() may fail in a function that holds the lock. */
static void flush_before_abort(void)
{
	if (pthread_mutex_trylock(&out.lock) == 0)
		flush();
}

void log_output_gather(void)
{
	static bool is_registered;

	if (!is_registered) {
		CHECK(atexit(log_output_finish) == 0);
		check_before_abort = flush_before_abort;
		is_registered = true;
	}
	gathers = true;
}
