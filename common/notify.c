/* common/notify.c - see notify.h. */
#include "common/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_service_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (path == NULL || (*path != '/' && *path != '@') ||
	    strlen(path) >= sizeof address.sun_path)
		return;
	size_t bytes = strlen(path);
	memcpy(address.sun_path, path, bytes);
	if (*path == '@')
		address.sun_path[0] = '\0'; /* the abstract name space, unix(7) */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes));
	close(fd);
}

void watchdog_init(struct watchdog *w, int64_t now_ms)
{
	const char *process = getenv("WATCHDOG_PID"), *text = getenv("WATCHDOG_USEC");
	char *end = NULL;

	*w = (struct watchdog){0};
	if (text == NULL || (process != NULL && strtoll(process, NULL, 10) != getpid()))
		return;
	long long us = strtoll(text, &end, 10);
	if (us <= 0 || *end != '\0')
		return;
	/* A third: two may come late. */
	w->every_ms = us / 3000 > 0 ? us / 3000 : 1;
	w->due_ms = now_ms + w->every_ms;
}

void watchdog_tell(struct watchdog *w, int64_t now_ms)
{
	if (w->every_ms == 0 || now_ms < w->due_ms)
		return;
	w->due_ms = now_ms + w->every_ms;
	notify_service_manager("WATCHDOG=1");
}
