/* tests/integration/two_tunnels.c - Two of the client's tunnels in one process and one loop, for
 * test_two_tunnels.py. usage: two_tunnels TARGET_URL SERVER_URL TARGET_URL SERVER_URL
 *
 * SIGUSR1 stops the first tunnel, SIGTERM both. Exits when both are over. */
#include "client/dialer.h"
#include "client/fetch.h"
#include "client/link.h"
#include "common/log.h"

#include <signal.h>
#include <stdlib.h>
#include <uv.h>

enum { COUNT = 2, DRAIN_MS = 10000 };

struct tunnel {
	int number;
	struct settings settings;
	struct fetch_engine *engine;
	struct link *link;
	bool is_over;
};

static uv_loop_t loop;
static struct tunnel tunnels[COUNT];
static struct window_budget windows = {.total_bytes = 64 * 1024 * 1024}; /* of the process */

static void on_over(void *ctx, int exit_code)
{
	struct tunnel *t = ctx;

	t->is_over = true;
	log_info("two.over tunnel=%d code=%d", t->number, exit_code);
	if (tunnels[0].is_over && tunnels[1].is_over)
		uv_stop(&loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)handle;
	for (int i = 0; i < (number == SIGUSR1 ? 1 : COUNT); i++)
		link_stop(tunnels[i].link, DRAIN_MS);
}

static void start(struct tunnel *t, const char *target, const char *server)
{
	const struct arguments a = {.target = target, .server = server};

	if (settings_read(&t->settings, &a) != 0)
		exit(EXIT_USAGE);
	t->engine = fetch_engine_new(&loop, &t->settings.target);
	t->link = link_new(&loop, &t->settings.server, t->engine, &windows, on_over, t);
}

static void finish(struct tunnel *t)
{
	link_destroy(&t->link);
	fetch_engine_destroy(&t->engine);
	settings_fini(&t->settings);
}

int main(int argc, char **argv)
{
	static const int numbers[] = {SIGUSR1, SIGTERM};
	uv_signal_t signals[COUNT];

	CHECK(argc == 1 + 2 * COUNT);
	signal(SIGPIPE, SIG_IGN);
	dialer_library_start();
	CHECK(uv_loop_init(&loop) == 0);
	for (int i = 0; i < COUNT; i++) {
		tunnels[i].number = i;
		start(&tunnels[i], argv[1 + 2 * i], argv[2 + 2 * i]);
		uv_signal_init(&loop, &signals[i]);
		uv_signal_start(&signals[i], on_signal, numbers[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < COUNT; i++) {
		finish(&tunnels[i]);
		uv_close((uv_handle_t *)&signals[i], NULL);
	}
	uv_run(&loop, UV_RUN_DEFAULT); /* closes the handles */
	CHECK(uv_loop_close(&loop) == 0);
	dialer_library_stop();
	return 0;
}
