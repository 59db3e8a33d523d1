/* tests/bench/relay_main.c - The relay's command line. */
#include "common/cli.h"
#include "common/endpoint.h"
#include "common/options.h"
#include "tests/bench/relay.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { BACKLOG = 4096 };

#define AT(member) .offset = offsetof(struct relay_settings, member)
/* clang-format off */
static const struct setting settings[] = {
	{SETTING_NUMBER, .flag = "delay-ms", .argument = "N", .standard = "0", 0, 10000, 1000, AT(delay_us),
	 .help = "one way; the round trip is twice as long"},
	{SETTING_NUMBER, .flag = "rate-bits", .argument = "N", .standard = "0", 0, 1000000000000, AT(rate_bits),
	 .help = "of the line, each way, in a second; all connections share it; 0: no limit"},
	{SETTING_NUMBER, .flag = "queue-bytes", .argument = "N", .standard = "65536", RELAY_LINE_PIECE_BYTES, 1 << 30,
	 AT(queue_bytes), .help = "of the router: what waits in front of the line, each way"},
	{SETTING_NUMBER, .flag = "memory-mib", .argument = "N", .standard = "256", 1, 1 << 20, 1 << 20, AT(memory_bytes),
	 .help = "most that is held of all connections; then nothing is read. Delay times rate must fit"},
	{.type = SETTING_END},
};
/* clang-format on */

static const struct operand operands[] = {
	{"LISTEN", "ADDR:PORT; port 0: a free one",
	 .offset = offsetof(struct relay_settings, listen)},
	{"TARGET", "ADDR:PORT, in digits", .offset = offsetof(struct relay_settings, target)},
	{.name = NULL},
};

static const char notes[] =
	"Between the sender and the receiver stand, in this order:\n"
	"  the sender's own send buffer;\n"
	"  the relay's receive buffer: with a rate, 8 KiB for each connection, in\n"
	"    segments of 1448 bytes; without one, the kernel's default;\n"
	"  the router's queue (--queue-bytes), first in, first out for all\n"
	"    connections. While it is full, nothing is read; when it has room, the\n"
	"    connections are read in turn, 4 KiB each;\n"
	"  the line (--rate-bits), then the delay (--delay-ms), where nothing queues;\n"
	"  the relay's outgoing data: while 256 KiB or more of it have arrived and\n"
	"    the receiver does not accept them, the sender is not read;\n"
	"  the relay's send buffer and the receiver's receive buffer.\n"
	"Connects, half-closes and resets take the delay as bytes do. The kernel\n"
	"accepts a connection to LISTEN at once, but its first byte arrives after one\n"
	"and a half round trips.";

static void print_version(void)
{
	printf("relay %s\n", PIPEGATE_VERSION);
}

static const struct program program = {
	.name = "relay",
	.summary = "A TCP relay that behaves like a long or a slow line.",
	.settings = settings,
	.operands = operands,
	.notes = notes,
	.print_version = print_version,
};

/* ADDR:PORT or [ADDR]:PORT. */
static struct addrinfo *resolve(const char *text)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[' && colon != NULL && colon[-1] == ']';
	char address[64];

	if (colon == NULL || colon - text >= (int)sizeof address)
		return NULL;
	snprintf(address, sizeof address, "%.*s", (int)(colon - text) - 2 * bracket,
		 text + bracket);
	return getaddrinfo(address, colon + 1, &hints, &found) == 0 ? found : NULL;
}

int main(int argc, char **argv)
{
	struct relay_settings chosen = {.listen = NULL};
	char text[ENDPOINT_TEXT_BYTES];
	int code = options_read(&program, argc, argv, &chosen);
	struct addrinfo *target;
	int fd;

	if (code >= 0)
		return code;
	target = resolve(chosen.target);
	if (target == NULL)
		return cli_misuse("TARGET is not ADDR:PORT", chosen.target);
	fd = endpoint_listen(chosen.listen, NULL, BACKLOG, text, sizeof text);
	if (fd < 0)
		return cli_complain("LISTEN", text, chosen.listen);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		return cli_complain("LISTEN", "fcntl failed", chosen.listen);
	cli_raise_descriptor_limit();
	endpoint_show(fd, chosen.listen, text);
	printf("relay: listening on %s\n", text);
	fflush(stdout);
	relay_run(&chosen, target, fd);
}
