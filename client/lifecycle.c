/* client/lifecycle.c - see lifecycle.h. */
#include "client/lifecycle.h"

#include "common/log.h"

#include <string.h>

const char *lifecycle_state_name(enum lifecycle_state s)
{
	static const char *const names[] = {
		[LIFECYCLE_WAITING] = "WAITING", [LIFECYCLE_CONNECTING] = "CONNECTING",
		[LIFECYCLE_SHAKING] = "SHAKING", [LIFECYCLE_GREETING] = "GREETING",
		[LIFECYCLE_OPEN] = "OPEN",	 [LIFECYCLE_CLOSING] = "CLOSING",
		[LIFECYCLE_OVER] = "OVER",
	};

	return names[s];
}

void lifecycle_log(struct lifecycle *l)
{
	if (l->logged == l->state)
		return;
	log_debug("tunnel.state from=%s to=%s", lifecycle_state_name(l->logged),
		  lifecycle_state_name(l->state));
	l->logged = l->state;
}

void lifecycle_init(struct lifecycle *l, int64_t now_ms)
{
	*l = (struct lifecycle){
		.state = LIFECYCLE_WAITING,
		.due_ms = now_ms,
		.drain_ms = INT64_MAX,
		.goaway_ms = INT64_MAX,
		.backoff_ms = LIFECYCLE_BACKOFF_LEAST_MS,
	};
}

static bool is_in_use(const struct lifecycle *l)
{
	return l->state == LIFECYCLE_GREETING || l->state == LIFECYCLE_OPEN;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The peer gets its full time to respond to a Ping, also if the Ping was sent late: after SIGCONT,
 * or on a busy machine. */
static int64_t hang_up_ms(const struct lifecycle *l)
{
	int64_t least_ms = l->pinged_ms + LIFECYCLE_HANG_UP_MS - LIFECYCLE_PING_MS;
	int64_t silent_ms = l->received_ms + LIFECYCLE_HANG_UP_MS;

	return silent_ms > least_ms ? silent_ms : least_ms;
}

int64_t lifecycle_next_ms(const struct lifecycle *l)
{
	int64_t next_ms = l->state == LIFECYCLE_OVER ? INT64_MAX : l->due_ms;

	if (!is_in_use(l))
		return next_ms;
	next_ms = earlier(next_ms, earlier(l->drain_ms, l->goaway_ms));
	return earlier(next_ms, l->pinged ? hang_up_ms(l) : l->received_ms + LIFECYCLE_PING_MS);
}

static void become_open(struct lifecycle *l, int64_t now_ms)
{
	l->state = LIFECYCLE_OPEN;
	l->due_ms = INT64_MAX;
	l->opened_ms = now_ms;
}

/* Handles the end of the state's wait. */
static enum lifecycle_step end_wait(struct lifecycle *l, int64_t now_ms)
{
	switch (l->state) {
	case LIFECYCLE_WAITING:
		l->state = LIFECYCLE_CONNECTING;
		l->due_ms = now_ms + LIFECYCLE_ATTEMPT_MS;
		return LIFECYCLE_CONNECT;
	case LIFECYCLE_GREETING:
		if (!l->by_time)
			return LIFECYCLE_TIMED_OUT;
		become_open(l, now_ms);
		return LIFECYCLE_ACCEPTED;
	case LIFECYCLE_CONNECTING:
	case LIFECYCLE_SHAKING:
	case LIFECYCLE_CLOSING:
		return LIFECYCLE_TIMED_OUT;
	default:
		return LIFECYCLE_NOTHING;
	}
}

enum lifecycle_step lifecycle_tick(struct lifecycle *l, int64_t now_ms)
{
	if (l->state == LIFECYCLE_OVER)
		return LIFECYCLE_NOTHING;
	if (l->due_ms <= now_ms)
		return end_wait(l, now_ms);
	if (!is_in_use(l))
		return LIFECYCLE_NOTHING;
	if (l->drain_ms <= now_ms) {
		l->drain_ms = INT64_MAX;
		return LIFECYCLE_CLOSE;
	}
	if (l->goaway_ms <= now_ms)
		l->goaway_ms = INT64_MAX; /* the caller now calls lifecycle_may_close() */
	if (l->pinged)
		return hang_up_ms(l) <= now_ms ? LIFECYCLE_SILENT : LIFECYCLE_NOTHING;
	if (now_ms - l->received_ms >= LIFECYCLE_PING_MS) {
		l->pinged = true;
		l->pinged_ms = now_ms;
		return LIFECYCLE_PING;
	}
	return LIFECYCLE_NOTHING;
}

void lifecycle_connected(struct lifecycle *l)
{
	l->state = LIFECYCLE_SHAKING;
}

void lifecycle_refusing(struct lifecycle *l, int64_t now_ms)
{
	if (l->state == LIFECYCLE_SHAKING)
		l->due_ms = earlier(l->due_ms, now_ms + LIFECYCLE_REFUSAL_MS);
}

void lifecycle_greeted(struct lifecycle *l, int64_t now_ms, bool by_time)
{
	l->state = LIFECYCLE_GREETING;
	l->by_time = by_time;
	if (by_time)
		l->due_ms = now_ms + LIFECYCLE_V1_ACCEPT_MS;
	lifecycle_received(l, now_ms);
}

bool lifecycle_accepted(struct lifecycle *l, int64_t now_ms)
{
	if (l->state != LIFECYCLE_GREETING)
		return false;
	become_open(l, now_ms);
	return true;
}

void lifecycle_received(struct lifecycle *l, int64_t now_ms)
{
	l->received_ms = now_ms;
	l->pinged = false;
}

void lifecycle_closing(struct lifecycle *l, int64_t now_ms)
{
	if (!is_in_use(l))
		return;
	/* Used by lifecycle_ended(), which needs to know how long the tunnel was open. */
	l->opened_ms = l->state == LIFECYCLE_OPEN ? l->opened_ms : now_ms;
	l->state = LIFECYCLE_CLOSING;
	l->due_ms = now_ms + (l->stopping ? LIFECYCLE_STOP_CLOSE_MS : LIFECYCLE_CLOSE_MS);
}

void lifecycle_woke(struct lifecycle *l, int64_t now_ms)
{
	if (l->state == LIFECYCLE_WAITING) {
		l->backoff_ms = LIFECYCLE_BACKOFF_LEAST_MS;
		l->due_ms = now_ms;
	} else if (is_in_use(l) && !l->pinged) {
		l->received_ms = earlier(l->received_ms, now_ms - LIFECYCLE_PING_MS);
	}
}

enum lifecycle_step lifecycle_stop(struct lifecycle *l, int64_t now_ms, int64_t most_ms)
{
	if (l->state == LIFECYCLE_OVER)
		return LIFECYCLE_NOTHING;
	l->stopping = true;
	if (l->state == LIFECYCLE_CLOSING && most_ms > 0) {
		l->due_ms = earlier(l->due_ms, now_ms + LIFECYCLE_STOP_CLOSE_MS);
		return LIFECYCLE_NOTHING;
	}
	if (!is_in_use(l)) {
		l->state = LIFECYCLE_OVER;
		return LIFECYCLE_STOP;
	}
	/* A v2 server that has not sent its HELLO has sent no request: there is nothing to wait
	 * for. */
	if (most_ms <= 0 || (l->state == LIFECYCLE_GREETING && !l->by_time))
		return LIFECYCLE_CLOSE;
	l->drain_ms = now_ms + most_ms;
	l->goaway_ms = now_ms + LIFECYCLE_GOAWAY_MS;
	return LIFECYCLE_DRAIN;
}

bool lifecycle_may_close(const struct lifecycle *l, int64_t now_ms, bool expects_more)
{
	return l->stopping &&
	       (!expects_more || l->goaway_ms == INT64_MAX || l->goaway_ms <= now_ms);
}

/* --- ends --- */

/* Returns true if another attempt with the same token must fail too (contract: exit 77). */
static bool is_refusal(const struct lifecycle_end *end)
{
	static const char *const reasons[] = {"Missing token", "Invalid token", "Token expired",
					      "Token revoked"};

	if (end->by_http)
		return end->code == 401 || end->code == 403;
	for (size_t i = 0; end->code == 1008 && i < sizeof reasons / sizeof reasons[0]; i++) {
		if (end->reason_bytes == strlen(reasons[i]) &&
		    memcmp(end->reason, reasons[i], end->reason_bytes) == 0)
			return true;
	}
	return false;
}

/* Adds +-20 % jitter, so that many clients do not reconnect at once. */
static int64_t with_jitter(int64_t delay_ms, uint16_t random_bits)
{
	return earlier(delay_ms * 4 / 5 + delay_ms * 2 / 5 * random_bits / UINT16_MAX,
		       LIFECYCLE_BACKOFF_MOST_MS);
}

/* Many clients come back from one server: spread over the whole time. */
static int64_t restart_delay_ms(uint16_t random_bits)
{
	return LIFECYCLE_RESTART_MS / 10 +
	       (int64_t)LIFECYCLE_RESTART_MS * 9 / 10 * random_bits / UINT16_MAX;
}

enum lifecycle_fate lifecycle_ended(struct lifecycle *l, int64_t now_ms,
				    const struct lifecycle_end *end, uint16_t random_bits,
				    int64_t *delay_ms)
{
	bool was_open = l->state == LIFECYCLE_OPEN || l->state == LIFECYCLE_CLOSING;

	*delay_ms = 0;
	if (l->stopping || is_refusal(end)) {
		l->state = LIFECYCLE_OVER;
		return l->stopping ? LIFECYCLE_STOPPED : LIFECYCLE_REFUSED;
	}
	if (was_open && now_ms - l->opened_ms >= LIFECYCLE_HELD_MS) {
		l->backoff_ms = LIFECYCLE_BACKOFF_LEAST_MS;
		l->restarts = 0;
	}
	if (was_open && !end->by_http && end->code == 1001 &&
	    l->restarts < LIFECYCLE_RESTARTS_MAX) {
		l->restarts++;
		*delay_ms = restart_delay_ms(random_bits);
	} else {
		*delay_ms = with_jitter(l->backoff_ms, random_bits);
		l->backoff_ms = earlier(l->backoff_ms * 2, LIFECYCLE_BACKOFF_MOST_MS);
	}
	l->state = LIFECYCLE_WAITING;
	l->due_ms = now_ms + *delay_ms;
	l->drain_ms = INT64_MAX;
	l->pinged = false;
	return LIFECYCLE_RETRY;
}
