/* broker/hook.c - see hook.h. */
#include "broker/hook.h"

#include "common/check.h"
#include "common/gate_msg.h"
#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

struct event {
	TAILQ_ENTRY(event) link; /* hook->waiting */
	const char *name;
	char id[CONNECTION_ID_MAX_BYTES + 1];
};

struct hook {
	uv_loop_t *loop;
	const char *program;
	TAILQ_HEAD(event_list, event) waiting;
	size_t waiting_count;
	struct event *running; /* NULL: none */
	uv_process_t process;  /* of `running` */
	bool process_open;     /* its handle is */
	uv_timer_t timer;      /* the next run, or the end of this one */
	bool timer_open, stopped;
	uint64_t lost;
};

const char *hook_fault(const char *program)
{
	struct stat status;

	if (*program != '/')
		return "not an absolute path";
	if (stat(program, &status) != 0)
		return strerror(errno);
	if (!S_ISREG(status.st_mode) || access(program, X_OK) != 0)
		return "not a program that the broker may run";
	return NULL;
}

static void on_timer(uv_timer_t *timer);

struct hook *hook_new(uv_loop_t *loop, const char *program)
{
	struct hook *h = xcalloc(1, sizeof *h);

	h->loop = loop;
	h->program = program;
	TAILQ_INIT(&h->waiting);
	uv_timer_init(loop, &h->timer);
	h->timer_open = true;
	h->timer.data = h->process.data = h;
	return h;
}

static void lose(struct hook *h, const struct event *e, const char *why)
{
	h->lost++;
	log_limited_warn(e->id, "hook.lost event=%s conn=%s reason=\"%s\"", e->name, e->id, why);
}

void hook_add(struct hook *h, const char *event, const char *id)
{
	struct event *e = xcalloc(1, sizeof *e);

	e->name = event;
	CHECK(strlen(id) < sizeof e->id);
	strcpy(e->id, id);
	if (h->waiting_count == HOOK_WAITING_MAX) {
		lose(h, e, "too many events wait");
		free(e);
		return;
	}
	TAILQ_INSERT_TAIL(&h->waiting, e, link);
	h->waiting_count++;
	if (h->running == NULL)
		uv_timer_start(&h->timer, on_timer, 0, 0);
}

static void end_run(struct hook *h)
{
	free(h->running);
	h->running = NULL;
	uv_timer_stop(&h->timer);
	if (!TAILQ_EMPTY(&h->waiting))
		uv_timer_start(&h->timer, on_timer, 0, 0);
}

static void free_if_closed(struct hook *h)
{
	if (h->stopped && !h->process_open && !h->timer_open)
		free(h);
}

static void on_process_closed(uv_handle_t *handle)
{
	struct hook *h = handle->data;

	h->process_open = false;
	if (h->stopped)
		free_if_closed(h);
	else
		end_run(h);
}

static void on_exit_of_run(uv_process_t *process, int64_t status, int number)
{
	struct hook *h = process->data;

	if (status != 0 || number != 0)
		lose(h, h->running, number != 0 ? "killed by a signal" : "it failed");
	uv_close((uv_handle_t *)process, on_process_closed);
}

/* The handle is open even if the program could not be run. */
static void run(struct hook *h)
{
	struct event *e = TAILQ_FIRST(&h->waiting);
	char *path = getenv("PATH"), *only[2] = {NULL, NULL};
	char *arguments[] = {(char *)h->program, (char *)e->name, e->id, NULL};
	uv_stdio_container_t stdio[] = {
		{.flags = UV_IGNORE},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
	};

	if (path != NULL && asprintf(&only[0], "PATH=%s", path) < 0)
		out_of_memory();
	const uv_process_options_t options = {
		.exit_cb = on_exit_of_run,
		.file = h->program,
		.args = arguments,
		.env = only,
		.cwd = "/",
		.stdio_count = 3,
		.stdio = stdio,
	};
	TAILQ_REMOVE(&h->waiting, e, link);
	h->waiting_count--;
	h->running = e;
	h->process_open = true;
	int result = uv_spawn(h->loop, &h->process, &options);
	free(only[0]);
	h->process.data = h;
	if (result != 0) {
		lose(h, e, uv_strerror(result));
		uv_close((uv_handle_t *)&h->process, on_process_closed);
		return;
	}
	uv_timer_start(&h->timer, on_timer, HOOK_RUN_MAX_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct hook *h = timer->data;

	if (h->running != NULL)
		(void)uv_process_kill(&h->process, SIGKILL);
	else if (!TAILQ_EMPTY(&h->waiting))
		run(h);
}

bool hook_is_idle(const struct hook *h)
{
	return h == NULL || (h->running == NULL && TAILQ_EMPTY(&h->waiting));
}

uint64_t hook_lost_count(const struct hook *h)
{
	return h != NULL ? h->lost : 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct hook *h = handle->data;

	h->timer_open = false;
	free_if_closed(h);
}

void hook_stop(struct hook **hp)
{
	struct hook *h = *hp;
	struct event *e;

	*hp = NULL;
	if (h == NULL)
		return;
	while ((e = TAILQ_FIRST(&h->waiting)) != NULL) {
		TAILQ_REMOVE(&h->waiting, e, link);
		lose(h, e, "the broker stops");
		free(e);
	}
	free(h->running);
	h->running = NULL;
	h->stopped = true;
	if (h->process_open && !uv_is_closing((uv_handle_t *)&h->process))
		uv_close((uv_handle_t *)&h->process, on_process_closed);
	uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}
