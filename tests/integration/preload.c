/* tests/integration/preload.c - For LD_PRELOAD: name look-ups and clocks as a test wants them.
 *   RESOLVE=hang            getaddrinfo() never returns
 *   RESOLVE=ADDRESS,...     it returns these, in this order, for any name
 *   AWAKE_FILE=PATH         while the file exists, CLOCK_BOOTTIME is an hour ahead
 *   FASTER=N                monotonic time runs N times faster, and waits are as much shorter */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static struct addrinfo *address(const char *text, const char *service)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *result = NULL;
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		dlsym(RTLD_NEXT, "getaddrinfo");

	return real(text, service, &hints, &result) == 0 ? result : NULL;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **result)
{
	const char *resolve = getenv("RESOLVE");
	struct addrinfo **tail = result;

	(void)node;
	(void)hints;
	while (resolve != NULL && strcmp(resolve, "hang") == 0)
		pause();
	*result = NULL;
	char *list = strdup(resolve != NULL ? resolve : "127.0.0.1"), *rest = list, *one;
	while ((one = strsep(&rest, ",")) != NULL) {
		*tail = address(one, service);
		while (*tail != NULL)
			tail = &(*tail)->ai_next;
	}
	free(list);
	return *result != NULL ? 0 : EAI_NONAME;
}

static long faster(void)
{
	const char *text = getenv("FASTER");

	return text != NULL ? atol(text) : 1;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	static int (*real)(clockid_t, struct timespec *);
	const char *awake = getenv("AWAKE_FILE");

	if (real == NULL)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, t);
	if (clock != CLOCK_REALTIME && faster() > 1) {
		__int128 ns = ((__int128)t->tv_sec * 1000000000 + t->tv_nsec) * faster();
		t->tv_sec = (time_t)(ns / 1000000000);
		t->tv_nsec = (long)(ns % 1000000000);
	}
	if (clock == CLOCK_BOOTTIME && awake != NULL && access(awake, F_OK) == 0)
		t->tv_sec += 3600;
	return result;
}

static int shorter(int timeout_ms)
{
	return timeout_ms > 0 ? (int)(timeout_ms / faster()) + (faster() > 1) : timeout_ms;
}

int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout_ms, const sigset_t *set)
{
	int (*real)(int, struct epoll_event *, int, int, const sigset_t *) =
		dlsym(RTLD_NEXT, "epoll_pwait");

	return real(fd, events, most, shorter(timeout_ms), set);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
	return epoll_pwait(fd, events, most, timeout_ms, NULL);
}
