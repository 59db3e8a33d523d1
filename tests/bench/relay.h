/* tests/bench/relay.h - A TCP relay that behaves like a long or a slow line (relay_main.c: how). */
#ifndef PIPEGATE_BENCH_RELAY_H
#define PIPEGATE_BENCH_RELAY_H

#include <netdb.h>
#include <stdint.h>

enum {
	/* Read at once where there is a rate: 3 ms of a line of 10 Mbit/s. */
	RELAY_LINE_PIECE_BYTES = 4096,
};

struct relay_settings {
	const char *listen, *target; /* the command line's */
	int64_t delay_us;
	int64_t rate_bits; /* 0: no limit */
	int64_t queue_bytes, memory_bytes;
};

/* Serves forever. The listening socket is nonblocking; all three are borrowed. An error of the
 * relay's own sockets ends the process. */
_Noreturn void relay_run(const struct relay_settings *settings, const struct addrinfo *target,
			 int listen_fd);

#endif
