/* broker/watch.c - see watch.h. */
#include "broker/watch.h"

static void move(struct watch *w, struct watched *s, struct deadlines *list, int64_t at_ms)
{
	if (s->list != NULL)
		deadline_clear(s->list, &s->deadline);
	w->refused_count -= s->list == &w->refused;
	w->refused_count += list == &w->refused;
	s->list = list;
	if (list != NULL)
		deadline_set(list, &s->deadline, at_ms);
}

static void wait_for_silence(struct watch *w, struct watched *s)
{
	move(w, s, &w->silences, s->received_ms + WATCH_PING_AFTER_MS);
	w->calls->alive(s);
}

void watch_start(struct watch *w, struct watched *s, int64_t now_ms)
{
	s->received_ms = now_ms;
	wait_for_silence(w, s);
}

void watch_pause(struct watch *w, struct watched *s, bool paused, int64_t now_ms)
{
	s->paused = paused;
	if (!paused && s->list == &w->pongs)
		move(w, s, s->list, now_ms + WATCH_PONG_WITHIN_MS);
}

void watch_closing(struct watch *w, struct watched *s, int64_t now_ms)
{
	move(w, s, &w->closings, now_ms + WATCH_CLOSE_WAIT_MS);
}

void watch_refused(struct watch *w, struct watched *s, int64_t now_ms)
{
	move(w, s, &w->refused, now_ms + WATCH_CLOSE_WAIT_MS);
	/* A peer that keeps sending bad tokens must not exhaust our descriptors. */
	if (w->refused_count > WATCH_REFUSED_MAX)
		watch_cut(w, OWNER_OF(deadline_first(&w->refused), struct watched, deadline));
}

void watch_cut(struct watch *w, struct watched *s)
{
	watch_stop(w, s);
	w->calls->cut(s);
}

void watch_stop(struct watch *w, struct watched *s)
{
	move(w, s, NULL, 0);
}

static int64_t acked_bytes(const struct watch *w, const struct watched *s)
{
	return s->written_bytes - w->calls->unsent_bytes(s);
}

/* Decides when no Pong has arrived in time. A slow peer is alive while its kernel still
 * acknowledges bytes that were written before the Ping. Bytes written later prove nothing,
 * because the kernel of a frozen process acknowledges them too. While reading is paused, no Pong
 * can arrive: then the peer is alive if its kernel has acknowledged everything, the Ping
 * included, and it has not closed. */
static bool is_alive(struct watch *w, struct watched *s)
{
	int64_t acked = acked_bytes(w, s), before = s->acked_bytes;

	s->acked_bytes = acked;
	if (s->paused)
		return acked >= s->written_bytes && !w->calls->has_ended(s);
	return before < s->ping_offset_bytes && acked > before;
}

static void send_ping(struct watch *w, struct watched *s, int64_t now_ms)
{
	s->pinged_ms = now_ms;
	s->ping_offset_bytes = INT64_MAX;
	s->acked_bytes = acked_bytes(w, s);
	move(w, s, &w->pongs, now_ms + WATCH_PONG_WITHIN_MS);
	w->calls->ping(s);
}

void watch_ping_sent(struct watched *s)
{
	s->ping_offset_bytes = s->written_bytes;
}

static struct watched *take_due(struct deadlines *list, int64_t now_ms)
{
	struct deadline *d = deadline_take_due(list, now_ms);

	return d ? OWNER_OF(d, struct watched, deadline) : NULL;
}

void watch_tick(struct watch *w, int64_t now_ms)
{
	struct watched *s;

	while ((s = take_due(&w->silences, now_ms)) != NULL) {
		if (s->paused && w->calls->has_ended(s))
			watch_cut(w, s);
		else if (now_ms - s->received_ms >= WATCH_PING_AFTER_MS)
			send_ping(w, s, now_ms);
		else
			wait_for_silence(w, s);
	}
	while ((s = take_due(&w->pongs, now_ms)) != NULL) {
		if (s->received_ms >= s->pinged_ms)
			wait_for_silence(w, s);
		else if (!is_alive(w, s))
			watch_cut(w, s);
		else if (s->paused)
			send_ping(w, s, now_ms);
		else
			move(w, s, &w->pongs, now_ms + WATCH_PONG_WITHIN_MS);
	}
	while ((s = take_due(&w->closings, now_ms)) != NULL)
		watch_cut(w, s);
	while ((s = take_due(&w->refused, now_ms)) != NULL)
		watch_cut(w, s);
}

void watch_fini(struct watch *w)
{
	deadlines_fini(&w->silences);
	deadlines_fini(&w->pongs);
	deadlines_fini(&w->closings);
	deadlines_fini(&w->refused);
}
