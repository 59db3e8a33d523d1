/* broker/tcp.c - see tcp.h. */
#include "broker/tcp.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	NOT_SENT_LOW_WATER_BYTES = 128 * 1024,
};

void tcp_set_options(int fd)
{
	int on = 1, low_water_bytes = NOT_SENT_LOW_WATER_BYTES;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_water_bytes,
			 sizeof low_water_bytes);
}

int64_t tcp_unsent_bytes(int fd)
{
	int bytes = 0;

	(void)ioctl(fd, SIOCOUTQ, &bytes);
	return bytes;
}

bool tcp_has_ended(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}
