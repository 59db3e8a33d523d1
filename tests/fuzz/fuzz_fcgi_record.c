/* Any bytes from a web server. If they are judged to be a whole request, it is read, body and all,
 * without a byte more; the connection does not block here: waiting would be an error. As what
 * follows the parameters they are the same body, and as what follows a request the same part of
 * them is skipped, in whatever pieces they arrive. */
#include "fcgi/cgi.h"

#include "fcgi/record.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* libfcgi ends the process on a parameter whose length is two thousand million (SECURITY.md): no
 * input here has one of the lengths of four bytes, which begin with this bit. */
static bool has_long_lengths(const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (data[i] & 0x80)
			return true;
	}
	return false;
}

typedef size_t consume_function(struct record_body *b, const uint8_t *data, size_t bytes);

struct consumed {
	struct record_body end;
	size_t bytes, body_bytes;
	uint32_t body_sum;
};

static struct consumed consume(consume_function *function, const uint8_t *data, size_t bytes,
			       size_t piece_bytes)
{
	struct consumed c = {.end = {.request_id = 1}};

	for (size_t arrived = 0, before = 1; arrived < bytes || before != c.bytes;) {
		before = c.bytes;
		arrived = bytes - arrived < piece_bytes ? bytes : arrived + piece_bytes;
		size_t some = function(&c.end, data + c.bytes, arrived - c.bytes);
		CHECK(some <= arrived - c.bytes);
		c.bytes += some;
		for (; c.end.content_bytes > 0 && c.bytes < arrived; c.end.content_bytes--) {
			c.body_sum = c.body_sum * 31 + data[c.bytes++];
			c.body_bytes++;
		}
	}
	CHECK(c.bytes <= bytes && c.body_bytes <= c.bytes);
	return c;
}

static void check_pieces(consume_function *function, const uint8_t *data, size_t bytes)
{
	struct consumed whole = consume(function, data, bytes, bytes + 1);

	for (size_t piece_bytes = 1; piece_bytes < 20; piece_bytes += 3) {
		struct consumed pieces = consume(function, data, bytes, piece_bytes);
		CHECK(pieces.bytes == whole.bytes && pieces.body_bytes == whole.body_bytes);
		CHECK(pieces.body_sum == whole.body_sum);
		CHECK(pieces.end.ended == whole.end.ended);
		CHECK(pieces.end.broken == whole.end.broken);
		CHECK(pieces.end.content_bytes == whole.end.content_bytes);
		CHECK(pieces.end.ignored_bytes == whole.end.ignored_bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t piece[64];
	int pair[2];
	ssize_t got;

	if (bytes > CGI_PEEK_BYTES)
		bytes = CGI_PEEK_BYTES;
	check_pieces(record_body_next, data, bytes);
	check_pieces(record_body_skip, data, bytes);
	enum record_state whole = record_state(data, bytes);
	for (size_t i = 0; i < bytes && i < 64; i++) {
		enum record_state part = record_state(data, i);
		CHECK(part != RECORD_WHOLE || whole == RECORD_WHOLE || whole == RECORD_UNEXPECTED);
		CHECK(part != RECORD_UNEXPECTED || whole == RECORD_UNEXPECTED);
	}
	if (whole != RECORD_WHOLE || has_long_lengths(data, bytes))
		return 0;
	signal(SIGPIPE, SIG_IGN);
	cgi_init();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK(send(pair[1], data, bytes, 0) == (ssize_t)bytes);
	struct cgi *c = cgi_new(pair[0]);
	if (cgi_accept(c)) {
		struct request_parameters p = cgi_parameters(c);
		do {
			got = cgi_read(c, piece, sizeof piece, 0);
		} while (got > 0);
		CHECK(got == CGI_END || p.get(p.ctx, "CONTENT_LENGTH") != NULL);
		cgi_end(c);
		CHECK(cgi_flush(c, false) == CGI_SENT);
		(void)cgi_finish(c);
	}
	cgi_destroy(&c);
	close(pair[1]);
	return 0;
}
