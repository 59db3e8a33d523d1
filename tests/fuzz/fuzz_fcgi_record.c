/* Any bytes from a web server: if they are judged to be a whole request, libfcgi reads it, body
 * and all, without a byte more. The connection does not block here: waiting would be an error. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t piece[64];
	int pair[2];
	ssize_t got;

	if (bytes > CGI_PEEK_BYTES)
		bytes = CGI_PEEK_BYTES;
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
