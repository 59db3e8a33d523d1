/* broker/tcp.h - What a tunnel asks of the kernel about its socket. Unix sockets have none of it; there these
 * functions do nothing. */
#ifndef PIPEGATE_TCP_H
#define PIPEGATE_TCP_H

#include <stdint.h>

/* Sends without delay, and keeps few unsent bytes in the kernel, so that urgent data does not wait behind them. */
void tcp_set_options(int fd);

/* Written bytes that the peer's kernel has not acknowledged. */
int64_t tcp_unsent_bytes(int fd);

#endif
