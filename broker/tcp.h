/* broker/tcp.h - What a tunnel asks of the kernel about its socket, which may be a Unix socket. */
#ifndef PIPEGATE_TCP_H
#define PIPEGATE_TCP_H

#include <stdbool.h>
#include <stdint.h>

/* Sends without delay, and keeps few unsent bytes in the kernel, so that urgent data does not
 * wait behind them. Does nothing for a Unix socket. */
void tcp_set_options(int fd);

/* Written bytes that the peer's kernel has not acknowledged. */
int64_t tcp_unsent_bytes(int fd);

/* The peer has closed its side, or the connection is broken, whatever is still to be read. */
bool tcp_has_ended(int fd);

#endif
