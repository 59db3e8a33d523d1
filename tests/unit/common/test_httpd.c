/* Endpoints for operators: large responses, slow readers, peers that hold a connection. */
#include "common/httpd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

enum { ROWS = 10000, LARGE_BYTES = 8 * 1024 * 1024, TURNS_MAX = 100000 };

static uv_loop_t loop;
static struct httpd *httpd;
static char directory[] = "/tmp/pipegate-httpd-XXXXXX";
static char path[64];
static uint64_t later_ms; /* how far the clock of httpd.c has been moved */

/* Replaces libuv's function, from which httpd.c learns the age of connections. */
uint64_t uv_now(const uv_loop_t *l)
{
	(void)l;
	return uv_hrtime() / 1000000 + later_ms;
}

static void say_rows(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	FILE *stream = open_memstream(&out->body, &out->body_bytes);

	(void)ctx;
	(void)r;
	for (int i = 0; i < ROWS; i++)
		fprintf(stream, "row %d\n", i);
	fclose(stream);
}

static void say_large(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	(void)ctx;
	(void)r;
	out->body = xmalloc(LARGE_BYTES);
	out->body_bytes = LARGE_BYTES;
	memset(out->body, 'x', LARGE_BYTES);
}

static const struct httpd_route routes[] = {
	{"GET", "/rows", say_rows}, {"GET", "/large", say_large}, {NULL, NULL, NULL}};

static int set_up(void **state)
{
	char spec[80];

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/socket", directory);
	snprintf(spec, sizeof spec, "unix:%s", path);
	assert_int_equal(uv_loop_init(&loop), 0);
	httpd = httpd_new(&loop, spec, "TEST", NULL, routes, NULL);
	return httpd != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	httpd_stop(httpd);
	uv_run(&loop, UV_RUN_NOWAIT);
	httpd_destroy(&httpd);
	rmdir(directory);
	return uv_loop_close(&loop);
}

static int dial(const char *request)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	return fd;
}

struct got {
	char *text;
	size_t bytes;
	bool ended;
};

/* Reads up to `most` bytes of what is there. */
static void read_some(int fd, struct got *g, size_t most)
{
	g->text = realloc(g->text, g->bytes + most + 1);
	assert_non_null(g->text);
	ssize_t n = recv(fd, g->text + g->bytes, most, 0);
	g->ended = n == 0 || (n < 0 && errno != EAGAIN);
	g->bytes += n > 0 ? (size_t)n : 0;
	g->text[g->bytes] = '\0';
}

/* The whole response to a request. */
static struct got ask(const char *request)
{
	struct got g = {0};
	int fd = dial(request);

	for (int i = 0; i < TURNS_MAX && !g.ended; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		read_some(fd, &g, 64 * 1024);
	}
	assert_true(g.ended);
	close(fd);
	return g;
}

static bool says(const char *request, const char *text)
{
	struct got g = ask(request);
	bool found = strstr(g.text, text) != NULL;

	free(g.text);
	return found;
}

static void test_rows(void **state)
{
	struct got g = ask("GET /rows HTTP/1.1\r\nHost: x\r\n\r\n");
	char *body = strstr(g.text, "\r\n\r\n");
	int rows = 0;

	(void)state;
	assert_memory_equal(g.text, "HTTP/1.1 200", 12);
	assert_non_null(body);
	for (char *at = strtok(body + 4, "\n"); at != NULL; at = strtok(NULL, "\n"))
		assert_int_equal(atoi(at + 4), rows++);
	assert_int_equal(rows, ROWS);
	free(g.text);
}

static void test_others(void **state)
{
	(void)state;
	assert_true(says("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "404"));
	assert_true(says("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "not-found; delivered=no"));
	assert_true(says("POST /rows HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "404"));
	assert_true(
		says("POST /rows HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n", "404"));
	assert_true(says("HEAD /rows HTTP/1.1\r\nHost: x\r\n\r\n", "200"));
	assert_false(says("HEAD /rows HTTP/1.1\r\nHost: x\r\n\r\n", "row 1"));
	assert_true(says("nonsense\r\n\r\n", ""));
}

/* It takes its time; others are served meanwhile, and it gets all of it. */
static void test_slow_reader(void **state)
{
	int fd = dial("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
	struct got g = {0};

	(void)state;
	for (int i = 0; i < 100; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(says("GET /rows HTTP/1.1\r\nHost: x\r\n\r\n", "row 9999"));
	for (int i = 0; i < TURNS_MAX && !g.ended; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		read_some(fd, &g, 64 * 1024);
	}
	assert_true(g.ended);
	assert_int_equal(g.bytes - (size_t)(strstr(g.text, "\r\n\r\n") + 4 - g.text), LARGE_BYTES);
	free(g.text);
	close(fd);
}

/* However little a peer sends or takes, its connection ends. */
static void test_life(void **state)
{
	int fd = dial("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
	struct got g = {0};

	(void)state;
	for (int i = 0; i < 100; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	read_some(fd, &g, 10);
	assert_int_equal(g.bytes, 10);
	later_ms += HTTPD_LIFE_MS;
	assert_true(says("GET /rows HTTP/1.1\r\nHost: x\r\n\r\n", "row 9999")); /* an event */
	for (int i = 0; i < TURNS_MAX && !g.ended; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		read_some(fd, &g, 64 * 1024);
	}
	assert_true(g.ended);
	assert_true(g.bytes < LARGE_BYTES);
	free(g.text);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_life),
	};

	return cmocka_run_group_tests_name("common/httpd", tests, set_up, tear_down);
}
