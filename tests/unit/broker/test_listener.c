/* A request head that arrives in pieces: however many they are, its bytes are searched once. */
#include "broker/listener.h"
#include "common/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

static size_t searched_bytes;

/* Stands in for the C library's, and counts. */
void *memmem(const void *text, size_t bytes, const void *want, size_t want_bytes)
{
	const char *at = text;

	searched_bytes += bytes;
	for (size_t i = 0; i + want_bytes <= bytes; i++) {
		if (memcmp(at + i, want, want_bytes) == 0)
			return (char *)(uintptr_t)(at + i);
	}
	return NULL;
}

static size_t handled, fields;

static void on_request(void *ctx, const struct listener_request *r, struct listener_response *out)
{
	(void)ctx;
	handled++;
	fields = r->header_count;
	buf_append(&out->whole, "HTTP/1.1 204 No Content\r\n\r\n", 27);
}

static void send_in_pieces(uv_loop_t *loop, const struct sockaddr_un *address, const char *head,
			   size_t piece_bytes)
{
	int peer = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(peer, (const struct sockaddr *)address, sizeof *address), 0);
	for (size_t bytes = strlen(head); bytes > 0;) {
		size_t some = bytes < piece_bytes ? bytes : piece_bytes;
		assert_int_equal(send(peer, head, some, MSG_NOSIGNAL), some);
		head += some;
		bytes -= some;
		uv_run(loop, UV_RUN_NOWAIT);
		uv_run(loop, UV_RUN_NOWAIT);
	}
	close(peer);
	for (int i = 0; i < 3; i++)
		uv_run(loop, UV_RUN_NOWAIT);
}

static void test_pieces(void **state)
{
	static const size_t sizes[] = {1, 2, 3, 5, 100000};
	static char head[24 * 1024];
	char directory[] = "/tmp/pipegate-test-XXXXXX", spec[64];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uv_loop_t loop;
	size_t used;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
	snprintf(spec, sizeof spec, "unix:%s/socket", directory);
	assert_int_equal(uv_loop_init(&loop), 0);
	struct listener *l = listener_new(&loop, spec, "listener", NULL, on_request, NULL);
	assert_non_null(l);
	used = (size_t)sprintf(head, "GET /x HTTP/1.1\r\n");
	for (int i = 0; i < 100; i++)
		used += (size_t)sprintf(head + used, "X-%d: %0200d\r\n", i, i);
	strcpy(head + used, "\r\n");
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		handled = searched_bytes = 0;
		send_in_pieces(&loop, &address, head, sizes[i]);
		assert_int_equal(handled, 1);
		assert_int_equal(fields, 100);
		assert_true(searched_bytes <= 4 * strlen(head));
	}
	listener_stop(l);
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	listener_destroy(&l);
	assert_int_equal(uv_loop_close(&loop), 0);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
