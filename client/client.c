/* client/client.c - see client.h. */
#include "client/client.h"

#include "client/dialer.h"
#include "client/fetch.h"
#include "client/link.h"
#include "common/cli.h"
#include "common/log.h"
#include "common/log_output.h"

#include <signal.h>
#include <uv.h>

enum { DRAIN_MS = 10000, LOG_RETRY_MS = 100 };

struct client {
	uv_loop_t loop;
	uv_signal_t term, interrupt, dump;
	uv_prepare_t turn;    /* runs before each wait of the loop */
	uv_timer_t log_retry; /* the reader of the log is slow */
	struct fetch_engine *engine;
	struct window_budget windows;
	struct link *link;
	bool told_to_stop;
	int exit_code;
};

static void on_over(void *ctx, int exit_code)
{
	struct client *c = ctx;

	c->exit_code = exit_code;
	uv_stop(&c->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct client *c = handle->data;

	log_info("stopping signal=%d", number);
	link_stop(c->link, c->told_to_stop ? 0 : DRAIN_MS); /* a second signal ends the wait */
	c->told_to_stop = true;
}

static void on_dump_signal(uv_signal_t *handle, int number)
{
	struct client *c = handle->data;

	(void)number;
	link_dump(c->link);
}

static void on_log_retry(uv_timer_t *timer)
{
	(void)timer; /* on_turn() follows */
}

static void on_turn(uv_prepare_t *prepare)
{
	struct client *c = prepare->data;

	if (!log_output_flush())
		uv_timer_start(&c->log_retry, on_log_retry, LOG_RETRY_MS, 0);
}

/* libuv runs the last one started first. So this one, started before those of the links, writes
 * their lines too. */
static void start_turns(struct client *c)
{
	uv_timer_init(&c->loop, &c->log_retry);
	uv_prepare_init(&c->loop, &c->turn);
	c->turn.data = c;
	uv_prepare_start(&c->turn, on_turn);
}

static void watch_signal(struct client *c, uv_signal_t *handle, uv_signal_cb callback, int number)
{
	uv_signal_init(&c->loop, handle);
	handle->data = c;
	uv_signal_start(handle, callback, number);
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int client_run(const struct settings *settings)
{
	struct client c = {.exit_code = EXIT_CONFIG};

	signal(SIGPIPE, SIG_IGN);
	dialer_library_start();
	cli_raise_descriptor_limit();
	CHECK(uv_loop_init(&c.loop) == 0);
	start_turns(&c);
	c.engine = fetch_engine_new(&c.loop, &settings->target);
	c.windows.total_bytes = settings->buffer_bytes;
	c.link = link_new(&c.loop, &settings->server, c.engine, &c.windows, on_over, &c);
	watch_signal(&c, &c.term, on_signal, SIGTERM);
	watch_signal(&c, &c.interrupt, on_signal, SIGINT);
	watch_signal(&c, &c.dump, on_dump_signal, SIGUSR1);
	if (c.link != NULL) {
		log_output_gather();
		uv_run(&c.loop, UV_RUN_DEFAULT);
	}
	/* The handlers are closed below; a second signal must not kill the process. */
	block_signals();
	uv_close((uv_handle_t *)&c.turn, NULL);
	uv_close((uv_handle_t *)&c.log_retry, NULL);
	uv_close((uv_handle_t *)&c.term, NULL);
	uv_close((uv_handle_t *)&c.interrupt, NULL);
	uv_close((uv_handle_t *)&c.dump, NULL);
	link_destroy(&c.link);
	fetch_engine_destroy(&c.engine);
	for (int i = 0; i < 3; i++)
		uv_run(&c.loop, UV_RUN_NOWAIT);
	if (uv_loop_close(&c.loop) != 0)
		log_debug("loop.handles_left");
	dialer_library_stop();
	return c.exit_code;
}
