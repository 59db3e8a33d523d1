/* broker/broker.c - see broker.h.
 *
 * The broker has one thread and one libuv loop. ZeroMQ's descriptor and libwebsockets are attached
 * to that loop. In each turn, callbacks read input and mark the objects that have work. Before the
 * loop waits again, on_turn() drains the gate and settles the hub, so all replies and writes of one
 * turn are sent together.
 *
 * One timer, the tick, drives all deadlines: silence, time-outs, the expiry of tokens. Traffic may
 * move the tick to an earlier time, never to a later one. The tick itself only sets a flag;
 * on_polled() checks the deadlines after the next poll, when everything that peers sent before was
 * read. After the whole process was stalled, ZeroMQ's own thread also needs time to read, so a late
 * tick postpones the check. */
#include "broker/broker.h"

#include "broker/admin.h"
#include "broker/admission.h"
#include "broker/control.h"
#include "broker/gate.h"
#include "broker/hook.h"
#include "broker/core/dump.h"
#include "broker/core/hub.h"
#include "broker/listener.h"
#include "broker/ws_relay.h"
#include "broker/ws.h"
#include "common/clock.h"
#include "common/endpoint.h"
#include "common/log.h"
#include "common/log_output.h"
#include "common/notify.h"
#include "common/owner.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* The tick while there are exchanges: the resolution of their time-outs. */
	BUSY_TICK_MS = 100,
	/* The tick otherwise: the resolution of token expiry. */
	IDLE_TICK_MS = 1000,
	/* A tick that is this late means that the process was stalled. */
	STALL_MS = 500,
	/* The number of ticks after a stall that check no deadlines. */
	STALL_TICKS = 10,
	/* How often the gate is drained before deadlines are checked: enough for everything that
	 * one responder may have sent. */
	DRAIN_ROUNDS = 40,
	/* How often relays and the hub settle in one turn, because each may give the other work. */
	SETTLE_ROUNDS = 4,
	/* How long failed exchanges and closing tunnels have after the drain time. */
	END_MS = 2000,
	/* Room for the reason of a failure: a path and a sentence. */
	FAULT_BYTES = 512,
};

/* DRAINING: running exchanges may finish. ENDING: the others have failed, and their responders
 * fetch the failure. CLOSING: tunnels close. */
enum phase { RUNNING, DRAINING, ENDING, CLOSING };

struct broker {
	const struct config *config;
	uv_loop_t loop;
	struct hub *hub;
	struct presence_observer presence;
	struct hook *hook; /* NULL: none */
	struct gate *gate;
	struct ws *ws;
	struct ws_relays *ws_relays;
	struct keyring *keys;
	struct revocations *revocations;
	struct auth auth; /* of those two */
	struct admission admission;
	struct listener *listener;
	struct admin admin_context;
	struct httpd *admin;
	struct control control_context;
	struct httpd *control;
	uv_prepare_t turn;
	uv_check_t polled;
	uv_idle_t again; /* active: the next turn must not wait */
	uv_timer_t tick;
	uint64_t tick_due_ms;
	uv_timer_t settle; /* when the hub has to settle, whether there is input or not */
	int ticks_to_skip; /* after a stall */
	struct watchdog watchdog;
	bool check_deadlines; /* after the next poll */
	uv_signal_t term, interrupt, hangup, dump;
	enum phase phase;
	uint64_t phase_deadline_ms;
};

static int64_t now_ms(const struct broker *b)
{
	return (int64_t)uv_now(&b->loop);
}

static void on_again(uv_idle_t *idle)
{
	(void)idle;
}

static void on_tick(uv_timer_t *timer);

static bool is_busy(const struct broker *b)
{
	return hub_busy(b->hub) || listener_is_waiting(b->listener) || b->ticks_to_skip > 0 ||
	       b->phase != RUNNING;
}

static void start_tick(struct broker *b, uint64_t wait_ms)
{
	b->tick_due_ms = uv_now(&b->loop) + wait_ms;
	uv_timer_start(&b->tick, on_tick, wait_ms, 0);
}

/* Traffic may only move the tick to an earlier time, so it cannot postpone it forever. */
static void hasten_tick(struct broker *b)
{
	if (is_busy(b) && b->tick_due_ms > uv_now(&b->loop) + BUSY_TICK_MS)
		start_tick(b, BUSY_TICK_MS);
}

/* on_turn() settles the hub. */
static void on_settle_due(uv_timer_t *timer)
{
	(void)timer;
}

static void start_settle_timer(struct broker *b)
{
	int64_t wait_ms = hub_settle_due_ms(b->hub) - now_ms(b);

	if (hub_settle_due_ms(b->hub) == 0)
		uv_timer_stop(&b->settle);
	else
		uv_timer_start(&b->settle, on_settle_due, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

static void on_turn(uv_prepare_t *prepare)
{
	struct broker *b = prepare->data;

	hub_set_now(b->hub, now_ms(b));
	gate_drain(b->gate);
	hub_settle(b->hub);
	for (int i = 0; i < SETTLE_ROUNDS && ws_relays_settle(b->ws_relays); i++)
		hub_settle(b->hub);
	if (ws_resume_reading(b->ws) || gate_has_input(b->gate) ||
	    ws_relays_unsettled(b->ws_relays) || b->check_deadlines)
		uv_idle_start(&b->again, on_again);
	else
		uv_idle_stop(&b->again);
	start_settle_timer(b);
	hasten_tick(b);
	/* If the reader is slow, the next tick writes the rest. */
	(void)log_output_flush();
}

/* --- the stop --- */

static void enter(struct broker *b, enum phase phase, int64_t wait_ms)
{
	b->phase = phase;
	b->phase_deadline_ms = uv_now(&b->loop) + (uint64_t)wait_ms;
}

/* `number`: of the signal; 0: pipegate-ctl asked for it. */
static void begin_stop(struct broker *b, int number)
{
	if (b->phase == RUNNING) {
		log_info("stopping signal=%d exchanges=%llu", number,
			 (unsigned long long)hub_stats(b->hub)->open);
		notify_service_manager("STOPPING=1");
		enter(b, DRAINING, b->config->drain_ms);
		/* Keep listening: new connections get 503 instead of a reset. */
		hub_drain(b->hub);
	} else if (b->phase == DRAINING) {
		b->phase_deadline_ms = 0; /* the second signal ends the wait */
	}
	hasten_tick(b);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
	begin_stop(handle->data, number);
}

/* --- keys --- */

/* A tunnel that is open stays open: it was admitted. To close it, revoke its token. */
static bool reload_keys(void *ctx, char *fault, size_t fault_bytes)
{
	struct broker *b = ctx;
	struct keyring *keys = keyring_load(b->config, fault, fault_bytes);

	if (keys == NULL) {
		log_error("keys.reload_failed reason=\"%s\" still_used=%zu", fault,
			  keyring_count(b->keys));
		return false;
	}
	keyring_free(&b->keys);
	b->auth.keys = b->keys = keys;
	log_info("keys.reloaded keys=%zu", keyring_count(keys));
	return true;
}

static void on_reload_signal(uv_signal_t *handle, int number)
{
	char fault[FAULT_BYTES];

	(void)number;
	(void)reload_keys(handle->data, fault, sizeof fault);
}

static void on_dump_signal(uv_signal_t *handle, int number)
{
	struct broker *b = handle->data;

	(void)number;
	hub_set_now(b->hub, now_ms(b));
	dump_hub(b->hub);
}

static void advance_stop(struct broker *b)
{
	bool expired = uv_now(&b->loop) >= b->phase_deadline_ms;

	if (b->phase == DRAINING && (expired || !hub_busy(b->hub))) {
		hub_end_all(b->hub);
		enter(b, ENDING, END_MS);
		expired = false;
	}
	if (b->phase == ENDING && (expired || !hub_busy(b->hub))) {
		/* Further connections wait in the socket, which systemd keeps, for the next
		 * broker: the clients that are told to come back come at once. */
		if (strcmp(b->config->listen, ENDPOINT_INHERITED) == 0)
			listener_stop(b->listener);
		hub_close_tunnels(b->hub);
		enter(b, CLOSING, END_MS);
		expired = false;
	}
	if (b->phase == CLOSING && (expired || (!hub_has_tunnels(b->hub) && hook_is_idle(b->hook))))
		uv_stop(&b->loop);
}

static void on_tick(uv_timer_t *timer)
{
	struct broker *b = timer->data;
	bool late = uv_now(&b->loop) >= b->tick_due_ms + STALL_MS;

	watchdog_tell(&b->watchdog, now_ms(b));
	hub_note_lag(b->hub, (int64_t)(uv_now(&b->loop) - b->tick_due_ms));
	start_tick(b, is_busy(b) ? BUSY_TICK_MS : IDLE_TICK_MS);
	if (b->phase != RUNNING)
		advance_stop(b);
	/* A tick that is late during the skipped ones does not restart them: under constant load,
	 * deadlines are still checked once in STALL_TICKS. */
	if (b->ticks_to_skip > 0)
		b->ticks_to_skip--;
	else if (late)
		b->ticks_to_skip = STALL_TICKS;
	b->check_deadlines = b->check_deadlines || b->ticks_to_skip == 0;
}

static void on_polled(uv_check_t *check)
{
	struct broker *b = check->data;

	if (!b->check_deadlines)
		return;
	b->check_deadlines = false;
	hub_set_now(b->hub, now_ms(b));
	for (int i = 0; i < DRAIN_ROUNDS && gate_has_input(b->gate); i++)
		gate_drain(b->gate);
	hub_tick(b->hub);
	log_tell_suppressed();
	ws_tick(b->ws);
	ws_relays_tick(b->ws_relays);
	listener_tick(b->listener);
}

/* --- start and end --- */

static bool load_auth(struct broker *b)
{
	char fault[FAULT_BYTES];

	b->keys = keyring_load(b->config, fault, sizeof fault);
	if (b->keys == NULL) {
		(void)cli_complain("PIPEGATE_JWT_KEYS", fault, b->config->jwt_keys);
		return false;
	}
	b->revocations = revocations_load(b->config->state, fault, sizeof fault);
	if (b->revocations == NULL) {
		(void)cli_complain("PIPEGATE_STATE", fault, b->config->state);
		return false;
	}
	b->auth =
		(struct auth){.config = b->config, .keys = b->keys, .revocations = b->revocations};
	return true;
}

static void on_online(struct presence_observer *o, const char *id)
{
	struct broker *b = OWNER_OF(o, struct broker, presence);

	log_debug("presence.online conn=%s", id);
	if (b->hook != NULL)
		hook_add(b->hook, "online", id);
}

static void on_offline(struct presence_observer *o, const char *id)
{
	struct broker *b = OWNER_OF(o, struct broker, presence);

	log_debug("presence.offline conn=%s", id);
	if (b->hook != NULL)
		hook_add(b->hook, "offline", id);
}

static bool start_hook(struct broker *b)
{
	const char *program = b->config->hook;
	const char *fault = program != NULL ? hook_fault(program) : NULL;

	if (fault != NULL)
		(void)cli_complain("PIPEGATE_HOOK", fault, program);
	else if (program != NULL)
		b->hook = hook_new(&b->loop, program);
	return fault == NULL;
}

static void drain(void *ctx)
{
	struct broker *b = ctx;

	if (b->phase == RUNNING)
		begin_stop(b, 0);
}

static bool start_endpoints(struct broker *b)
{
	const struct config *c = b->config;

	b->admin_context = (struct admin){.hub = b->hub,
					  .ws_relays = b->ws_relays,
					  .listener = b->listener,
					  .admission = &b->admission,
					  .hook = b->hook,
					  .started_s = clock_wall_ms() / 1000};
	b->control_context = (struct control){.hub = b->hub,
					      .revocations = b->revocations,
					      .reload = reload_keys,
					      .drain = drain,
					      .ctx = b};
	if (c->admin != NULL)
		b->admin = httpd_new(&b->loop, c->admin, "PIPEGATE_ADMIN", c->socket_group,
				     admin_routes, &b->admin_context);
	if (c->control != NULL)
		b->control = httpd_new(&b->loop, c->control, "PIPEGATE_CONTROL", c->control_group,
				       control_routes, &b->control_context);
	return (c->admin == NULL || b->admin != NULL) && (c->control == NULL || b->control != NULL);
}

static bool start_parts(struct broker *b)
{
	const struct config *c = b->config;

	if (!load_auth(b) || !start_hook(b))
		return false;
	b->hub = hub_new(c, now_ms(b));
	b->presence = (struct presence_observer){.online = on_online, .offline = on_offline};
	hub_observe_presence(b->hub, &b->presence);
	b->gate = gate_new(&b->loop, c, b->hub);
	if (b->gate == NULL)
		return false;
	b->ws = ws_new(&b->loop, b->hub);
	if (b->ws == NULL)
		return false;
	b->ws_relays = ws_relays_new(&b->loop, c, b->hub);
	b->admission = (struct admission){
		.auth = &b->auth, .hub = b->hub, .ws = b->ws, .ws_relays = b->ws_relays};
	b->listener = listener_new(&b->loop, c->listen, "--listen (PIPEGATE_LISTEN)",
				   c->socket_group, admission_on_request, &b->admission);
	if (b->listener == NULL)
		return false;
	return start_endpoints(b);
}

static void watch_signal(struct broker *b, uv_signal_t *handle, uv_signal_cb on_signal, int number)
{
	uv_signal_init(&b->loop, handle);
	handle->data = b;
	uv_signal_start(handle, on_signal, number);
}

static void start_watching(struct broker *b)
{
	uv_prepare_init(&b->loop, &b->turn);
	uv_check_init(&b->loop, &b->polled);
	uv_idle_init(&b->loop, &b->again);
	uv_timer_init(&b->loop, &b->tick);
	uv_timer_init(&b->loop, &b->settle);
	b->turn.data = b->polled.data = b->tick.data = b;
	uv_prepare_start(&b->turn, on_turn);
	uv_check_start(&b->polled, on_polled);
	watch_signal(b, &b->term, on_stop_signal, SIGTERM);
	watch_signal(b, &b->interrupt, on_stop_signal, SIGINT);
	watch_signal(b, &b->hangup, on_reload_signal, SIGHUP);
	watch_signal(b, &b->dump, on_dump_signal, SIGUSR1);
	start_tick(b, IDLE_TICK_MS);
}

static void stop_watching(struct broker *b)
{
	uv_close((uv_handle_t *)&b->turn, NULL);
	uv_close((uv_handle_t *)&b->polled, NULL);
	uv_close((uv_handle_t *)&b->again, NULL);
	uv_close((uv_handle_t *)&b->tick, NULL);
	uv_close((uv_handle_t *)&b->settle, NULL);
	uv_close((uv_handle_t *)&b->term, NULL);
	uv_close((uv_handle_t *)&b->interrupt, NULL);
	uv_close((uv_handle_t *)&b->hangup, NULL);
	uv_close((uv_handle_t *)&b->dump, NULL);
}

/* Shuts the parts down in dependency order. Any of them may be NULL. */
static void end_parts(struct broker *b)
{
	listener_stop(b->listener);
	httpd_stop(b->admin);
	httpd_stop(b->control);
	ws_relays_stop(b->ws_relays);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	ws_destroy(&b->ws); /* reports each open socket to the hub as closed */
	hub_destroy(&b->hub);
	gate_destroy(&b->gate);
	hook_stop(&b->hook);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	ws_relays_destroy(&b->ws_relays);
	listener_destroy(&b->listener);
	httpd_destroy(&b->admin);
	httpd_destroy(&b->control);
	keyring_free(&b->keys);
	revocations_free(&b->revocations);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	if (uv_loop_close(&b->loop) != 0)
		log_debug("loop.handles_left");
}

int broker_run(const struct config *config)
{
	struct broker b = {.config = config};
	int result = EXIT_CONFIG;

	signal(SIGPIPE, SIG_IGN);
	cli_raise_descriptor_limit();
	CHECK(uv_loop_init(&b.loop) == 0);
	if (start_parts(&b)) {
		log_info("listening what=tunnels address=%s", listener_address(b.listener));
		if (b.admin != NULL)
			log_info("listening what=admin address=%s", httpd_address(b.admin));
		if (b.control != NULL)
			log_info("listening what=control address=%s", httpd_address(b.control));
		start_watching(&b);
		log_info("ready gate=%s", config->gate);
		notify_service_manager("READY=1");
		watchdog_init(&b.watchdog, now_ms(&b));
		log_output_gather();
		uv_run(&b.loop, UV_RUN_DEFAULT);
		stop_watching(&b);
		result = 0;
	}
	end_parts(&b);
	return result;
}
