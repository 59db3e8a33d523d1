/* tests/bench/clients.c - Many tunnels of protocol v2 in one small process, to measure what tunnels
 * cost on the public host. 300 real clients on the same machine would take its processor and its
 * caches away from the programs that are measured.
 *
 *   clients PORT PATH <TOKENS   one token a line, one tunnel each, to 127.0.0.1
 *
 * It answers each request at once, by 200 "ok", and trusts its server. */
#include "common/buf.h"
#include "common/bytes.h"
#include "common/cli.h"
#include "common/frame.h"
#include "common/head.h"
#include "common/wsframe.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_BYTES = 64 * 1024,
	OUT_BYTES = 1024 * 1024,
	TOKEN_BYTES = 4096,
	EVENTS_PER_TURN = 64,
	WS_CLOSE = 8,
	WS_PING = 9,
	WS_PONG = 10,
};

static const uint8_t no_mask[WSFRAME_KEY_BYTES];

struct tunnel {
	int fd;
	struct buf in;
};

static struct head response; /* the same for all requests */
static uint8_t out[WSFRAME_HEAD_BYTES + OUT_BYTES];

static _Noreturn void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static void send_all(const struct tunnel *t, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	while (bytes > 0) {
		ssize_t sent = send(t->fd, at, bytes, MSG_NOSIGNAL);
		if (sent < 0)
			give_up("send");
		at += sent;
		bytes -= (size_t)sent;
	}
}

/* Sends what stands in `out` behind the room for the frame head. */
static void send_message(const struct tunnel *t, size_t bytes)
{
	const struct wsframe_piece whole = {.first = true, .final = true};
	size_t frame_bytes;
	const uint8_t *frame =
		wsframe_write(out + WSFRAME_HEAD_BYTES, bytes, &whole, no_mask, &frame_bytes);

	send_all(t, frame, frame_bytes);
}

/* Appends at least one byte. Returns false at the end of the connection. */
static bool receive(struct tunnel *t)
{
	uint8_t data[READ_BYTES];
	ssize_t got = recv(t->fd, data, sizeof data, 0);

	if (got <= 0)
		return false;
	buf_append(&t->in, data, (size_t)got);
	return true;
}

/* --- opening --- */

static void say_hello(const struct tunnel *t, unsigned number)
{
	struct head hello = {0};
	struct buf frame = {0};
	char instance[33];

	snprintf(instance, sizeof instance, "%032x", number);
	head_add(&hello, "version", "2");
	head_add(&hello, "max-streams", "256");
	head_add(&hello, "window", "262144");
	head_add(&hello, "instance", instance);
	frame_append(&frame, FRAME_HELLO, 0, hello.data, hello.bytes);
	memcpy(out + WSFRAME_HEAD_BYTES, buf_first(&frame), buf_bytes(&frame));
	send_message(t, buf_bytes(&frame));
	buf_fini(&frame);
	head_fini(&hello);
}

/* Takes the response head off t->in. */
static void await_upgrade(struct tunnel *t)
{
	static const char switching[] = "HTTP/1.1 101 ";
	const uint8_t *end = NULL;

	while (end == NULL && receive(t))
		end = memmem(buf_first(&t->in), buf_bytes(&t->in), "\r\n\r\n", 4);
	if (end == NULL || memcmp(buf_first(&t->in), switching, sizeof switching - 1) != 0) {
		fputs("the handshake was refused\n", stderr);
		exit(1);
	}
	buf_consume(&t->in, (size_t)(end + 4 - buf_first(&t->in)));
}

static struct tunnel *open_tunnel(uint16_t port, const char *path, const char *token)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char request[TOKEN_BYTES + 1024];
	struct tunnel *t = xcalloc(1, sizeof *t);
	int on = 1;

	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || connect(t->fd, (struct sockaddr *)&to, sizeof to) != 0)
		give_up("connect");
	(void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	int bytes = snprintf(request, sizeof request,
			     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
			     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			     "Sec-WebSocket-Protocol: " PIPEGATE_V2_PROTOCOL "\r\n"
			     "Authorization: Bearer %s\r\n\r\n",
			     path, token);
	if (bytes >= (int)sizeof request) {
		fputs("PATH or token is too long\n", stderr);
		exit(1);
	}
	send_all(t, request, (size_t)bytes);
	await_upgrade(t);
	return t;
}

/* --- requests --- */

/* Writes the responses to the requests of one message behind `used` bytes. Returns the sum. */
static size_t answer(const uint8_t *message, size_t bytes, size_t used)
{
	struct frame f;
	size_t frame_bytes;

	while (bytes > 0 && frame_get(message, bytes, &f, &frame_bytes) == 1) {
		const struct frame_piece piece = {.type = FRAME_HEAD,
						  .flags = FRAME_END,
						  .stream = f.stream,
						  .head = response.data,
						  .head_bytes = response.bytes,
						  .body = "ok",
						  .body_bytes = 2};
		if (f.type == FRAME_OPEN && used + frame_piece_bytes(&piece) <= OUT_BYTES)
			used += frame_put_piece(out + WSFRAME_HEAD_BYTES + used, &piece);
		message += frame_bytes;
		bytes -= frame_bytes;
	}
	return used;
}

/* Finds the first WebSocket frame, which a server does not mask. Returns the bytes of its head; 0:
 * it is incomplete. */
static size_t find_frame(const struct buf *in, size_t *payload_bytes)
{
	const uint8_t *at = buf_first(in);
	size_t bytes = buf_bytes(in), head_bytes = 2;

	if (bytes < 2)
		return 0;
	*payload_bytes = at[1] & 0x7f;
	if (*payload_bytes == 126)
		head_bytes = 4;
	else if (*payload_bytes == 127)
		head_bytes = 10;
	if (bytes < head_bytes)
		return 0;
	if (head_bytes == 4)
		*payload_bytes = get_be16(at + 2);
	else if (head_bytes == 10)
		*payload_bytes = (size_t)get_be64(at + 2);
	return bytes - head_bytes >= *payload_bytes ? head_bytes : 0;
}

static void pong(const struct tunnel *t, const uint8_t *payload, size_t bytes)
{
	uint8_t frame[WSFRAME_CONTROL_BYTES];

	if (bytes <= 125)
		send_all(t, frame, wsframe_write_control(frame, WS_PONG, payload, bytes, no_mask));
}

/* Returns false at the end of the tunnel. */
static bool serve(struct tunnel *t)
{
	size_t head_bytes, payload_bytes, used = 0;

	if (!receive(t))
		return false;
	while ((head_bytes = find_frame(&t->in, &payload_bytes)) > 0) {
		const uint8_t *payload = buf_first(&t->in) + head_bytes;
		uint8_t opcode = *buf_first(&t->in) & 0x0f;
		if (opcode == WS_CLOSE)
			return false;
		if (opcode == WS_PING)
			pong(t, payload, payload_bytes);
		else
			used = answer(payload, payload_bytes, used);
		buf_consume(&t->in, head_bytes + payload_bytes);
	}
	if (used > 0)
		send_message(t, used);
	return true;
}

/* --- start and end --- */

static void on_signal(int number)
{
	(void)number;
	_exit(0);
}

static _Noreturn void run(int epoll_fd)
{
	for (;;) {
		struct epoll_event events[EVENTS_PER_TURN];
		int count = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
		for (int i = 0; i < count; i++) {
			if (!serve(events[i].data.ptr))
				exit(0);
		}
	}
}

int main(int argc, char **argv)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	char token[TOKEN_BYTES];
	unsigned count = 0;

	if (argc != 3 || epoll_fd < 0) {
		fputs("usage: clients PORT PATH <TOKENS\n", stderr);
		return EXIT_USAGE;
	}
	signal(SIGTERM, on_signal);
	cli_raise_descriptor_limit();
	head_add(&response, ":status", "200");
	head_add(&response, ":origin", "http://127.0.0.1");
	head_add(&response, "content-type", "text/plain");
	head_add(&response, "content-length", "2");
	while (fgets(token, sizeof token, stdin) != NULL) {
		token[strcspn(token, "\n")] = '\0';
		struct tunnel *t = open_tunnel((uint16_t)atoi(argv[1]), argv[2], token);
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = t};
		say_hello(t, ++count);
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, t->fd, &event) != 0)
			give_up("epoll_ctl");
	}
	printf("clients: %u tunnels\n", count);
	fflush(stdout);
	run(epoll_fd);
}
