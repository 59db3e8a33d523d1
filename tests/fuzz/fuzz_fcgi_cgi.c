/* A request over a FastCGI connection: the harness is the web server, and writes records that
 * libfcgi understands, of sizes and with an end that the input names. What of the body comes out
 * of cgi.c? And is the next request on the connection understood, however much of the first one's
 * body was read, and whatever still comes of it? */
#include "fcgi/cgi.h"

#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BEGIN = 1, PARAMS = 4, STDIN = 5, WIRE_BYTES = 64 * 1024 };
enum {
	DECLARED = 1,
	WRONG_LENGTH = 2,
	CUT = 4,
	KEEP = 8,
	LEAVES = 16,
	READS = 32,
	AGAIN = 64,
	SENDS_REST = 128
};

struct wire {
	uint8_t data[WIRE_BYTES];
	size_t bytes;
};

static void put_record(struct wire *w, uint8_t type, const void *content, size_t bytes)
{
	uint8_t header[8] = {1, type, 0, 1};

	CHECK(bytes <= UINT16_MAX && w->bytes + 8 + bytes <= WIRE_BYTES);
	put_be16(header + 4, (uint16_t)bytes);
	memcpy(w->data + w->bytes, header, 8);
	if (bytes > 0)
		memcpy(w->data + w->bytes + 8, content, bytes);
	w->bytes += 8 + bytes;
}

static void put_request(struct wire *w, uint8_t how, size_t length)
{
	uint8_t begin[8] = {0, 1, how & KEEP ? 1 : 0};
	char params[64], value[24];
	int value_bytes = snprintf(value, sizeof value, "%zu", length);
	int bytes = snprintf(params, sizeof params, "%c%c%s%s", 14, value_bytes, "CONTENT_LENGTH",
			     value);

	put_record(w, BEGIN, begin, sizeof begin);
	if (how & DECLARED)
		put_record(w, PARAMS, params, (size_t)bytes);
	put_record(w, PARAMS, NULL, 0);
}

/* What was sent, and what it was said to be. */
struct body {
	const uint8_t *sent;
	size_t sent_bytes, declared_bytes;
	bool declared, cut;
};

static void read_body(struct cgi *c, const struct body *b, size_t piece_bytes)
{
	uint8_t *out = xmalloc(piece_bytes);
	size_t had = 0, nothing = 0;
	ssize_t got;

	while ((got = cgi_read(c, out, piece_bytes, 0)) >= 0) {
		CHECK((size_t)got <= piece_bytes && (size_t)got <= b->sent_bytes - had);
		CHECK(got > 0 || nothing++ < 4);
		CHECK(memcmp(out, b->sent + had, (size_t)got) == 0);
		had += (size_t)got;
	}
	CHECK(!b->declared || had <= b->declared_bytes);
	if (got == CGI_END && b->declared)
		CHECK(had == b->declared_bytes);
	else if (got == CGI_END)
		CHECK(had == b->sent_bytes && !b->cut);
	else
		CHECK(b->declared ? b->declared_bytes > b->sent_bytes : b->cut);
	CHECK(cgi_read(c, out, piece_bytes, 0) < 0);
	free(out);
}

/* The last record of a complete answer says END_REQUEST; a cut one has none. */
static void check_answer(int peer, bool complete)
{
	uint8_t answer[4096];
	size_t bytes = 0;
	ssize_t got;

	while ((got = recv(peer, answer + bytes, sizeof answer - bytes, MSG_DONTWAIT)) > 0)
		bytes += (size_t)got;
	if (complete)
		CHECK(bytes >= 16 && answer[bytes - 16 + 1] == 3);
	else
		CHECK(bytes == 0);
}

/* What has come is seen before it is read; and stays there. */
static void check_look(struct cgi *c, const struct wire *w, bool cut)
{
	static uint8_t scratch[CGI_PEEK_BYTES];
	enum cgi_state state = cgi_peek(c, scratch);

	if (w->bytes >= CGI_PEEK_BYTES)
		CHECK(state == CGI_LONG || (w->bytes == CGI_PEEK_BYTES && state == CGI_WHOLE));
	else
		CHECK(state == (cut ? CGI_PARAMETERS : CGI_WHOLE));
	CHECK(!cgi_is_disconnected(c));
}

static void check_next_request(struct cgi *c, int peer, struct wire *w, uint8_t how)
{
	static uint8_t scratch[CGI_PEEK_BYTES];
	enum cgi_state state = CGI_IDLE;
	uint8_t byte;

	for (int i = 0; i < 4 && state <= CGI_OLD; i++)
		state = cgi_peek(c, scratch);
	CHECK(state == CGI_IDLE);
	w->bytes = 0;
	if (how & SENDS_REST) {
		put_record(w, STDIN, scratch, 1 + how);
		put_record(w, STDIN, NULL, 0);
	}
	put_request(w, KEEP, 0);
	put_record(w, STDIN, NULL, 0);
	CHECK(send(peer, w->data, w->bytes, 0) == (ssize_t)w->bytes);
	CHECK(cgi_peek(c, scratch) == CGI_WHOLE && cgi_accept(c));
	CHECK(cgi_read(c, &byte, 1, 0) == CGI_END);
	cgi_end(c);
	CHECK(cgi_flush(c, false) == CGI_SENT && cgi_finish(c) == CGI_KEPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct wire w;
	struct input in = {data, bytes < WIRE_BYTES / 16 ? bytes : WIRE_BYTES / 16};
	uint8_t how = input_byte(&in);
	size_t record_bytes = 1 + input_byte(&in) % 97, piece_bytes = 1 + input_byte(&in) % 89;
	size_t length = how & WRONG_LENGTH ? input_number(&in) : 0;
	struct body body = {in.at, in.left, how & WRONG_LENGTH ? length : in.left,
			    (how & DECLARED) != 0, (how & CUT) != 0};
	bool again = (how & (AGAIN | KEEP | LEAVES)) == (AGAIN | KEEP);
	int pair[2], peer;

	signal(SIGPIPE, SIG_IGN);
	cgi_init();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	peer = pair[1];
	w.bytes = 0;
	put_request(&w, how, body.declared_bytes);
	while (in.left > 0) {
		size_t some;
		const uint8_t *at = input_take(&in, record_bytes, &some);
		put_record(&w, STDIN, at, some);
	}
	if (!body.cut)
		put_record(&w, STDIN, NULL, 0);
	CHECK(send(peer, w.data, w.bytes, 0) == (ssize_t)w.bytes);

	struct cgi *c = cgi_new(pair[0]);
	check_look(c, &w, body.cut);
	CHECK((again || shutdown(peer, SHUT_WR) == 0) && cgi_accept(c));
	struct request_parameters p = cgi_parameters(c);
	CHECK((p.get(p.ctx, "CONTENT_LENGTH") != NULL) == body.declared);
	uint8_t piece[128];
	for (size_t i = 0; again && i < piece_bytes % 8; i++)
		CHECK(cgi_read(c, piece, piece_bytes, 0) <= (ssize_t)piece_bytes);
	if (!again && (how & READS))
		read_body(c, &body, piece_bytes);
	if (how & LEAVES) {
		cgi_cut(c);
	} else {
		cgi_write(c, "Status: 200 OK\r\n\r\n", 18);
		cgi_end(c);
		CHECK(cgi_flush(c, false) == CGI_SENT);
		enum cgi_end end = cgi_finish(c);
		CHECK(end != CGI_KEPT || (how & KEEP));
		CHECK(!again || end == CGI_KEPT);
	}
	check_answer(peer, !(how & LEAVES));
	if (again)
		check_next_request(c, peer, &w, how);
	cgi_destroy(&c);
	close(peer);
	return 0;
}
