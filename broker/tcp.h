/* broker/tcp.h - Options and state of a tunnel's socket in the kernel. It may be a unix socket. */
#ifndef PIPEGATE_TCP_H
#define PIPEGATE_TCP_H

#include <stdbool.h>
#include <stdint.h>

/* Disables Nagle's algorithm, and limits the unsent bytes in the kernel, so that urgent data
 * does not wait behind them. Does nothing for a unix socket. */
void tcp_set_options(int fd);

/* Returns how many written bytes the peer's kernel has not acknowledged. */
int64_t tcp_unsent_bytes(int fd);

/* True if the peer has closed its side or the connection is broken, even if there is unread
 * input. */
bool tcp_has_ended(int fd);

#endif
