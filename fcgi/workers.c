/* fcgi/workers.c - see workers.h. */
#include "fcgi/workers.h"

#include "common/log.h"
#include "fcgi/ask.h"
#include "fcgi/event_source.h"
#include "fcgi/mux.h"
#include "fcgi/quota.h"
#include "fcgi/relay.h"
#include "fcgi/threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	RETRY_MS = 100,	       /* after a descriptor or a thread could not be had */
	IDLE_ASKS_MAX = 128,   /* sockets kept for slots that are free */
	FORCED_STOP_MS = 1000, /* limit on the wait for threads to end */
};

struct slot {
	struct job job;
	struct workers *workers;
	uint16_t number;
	struct ask *ask; /* NULL: not created, or released */
	struct connection *connection;
	struct relay *relay;
	enum relay_state state;
	int64_t started_ms;
	bool begun;		 /* relay_start() was called */
	bool in_thread;		 /* a thread owns all members but this one and `connection` */
	STAILQ_ENTRY(slot) link; /* workers->free, or workers->waiting_for_thread */
	STAILQ_ENTRY(slot) done_link;
};

STAILQ_HEAD(slots, slot);

struct workers {
	struct workers_events events;
	struct mux *mux;
	struct threads *threads;
	struct quota *quota;
	int64_t max_body_bytes;
	bool plain;
	int64_t pause_until_ms; /* after a descriptor could not be had; 0: no pause */
	int64_t threads_due_ms; /* when the next attempt to start a thread is due */
	int64_t now_ms;

	size_t slot_count, busy, asks;
	struct slot *slots;
	/* Slots with an ask first, the most recently used one in front: its memory is warm in the
	 * cache. */
	struct slots free;
	struct slots waiting_for_thread; /* no thread could be created for these */

	int wake_fd; /* eventfd: a thread has finished */
	struct event_source threads_done, mux_ready;
	pthread_mutex_t lock; /* guards what follows */
	struct slots done;    /* returned by their threads */
};

/* --- slots --- */

struct slot *workers_reserve(struct workers *w, int64_t now_ms)
{
	struct slot *s = STAILQ_FIRST(&w->free);

	w->now_ms = now_ms;
	if (s == NULL || (s->ask == NULL && w->pause_until_ms != 0))
		return NULL;
	if (s->ask == NULL) {
		s->ask = ask_new(w->mux, s->number);
		if (s->ask == NULL) {
			w->pause_until_ms = w->now_ms + RETRY_MS;
			return NULL;
		}
		w->asks++;
	}
	STAILQ_REMOVE_HEAD(&w->free, link);
	w->busy++;
	return s;
}

static void release(struct workers *w, struct slot *s)
{
	w->busy--;
	if (w->asks - w->busy <= IDLE_ASKS_MAX) {
		STAILQ_INSERT_HEAD(&w->free, s, link);
		return;
	}
	ask_destroy(&s->ask);
	w->asks--;
	STAILQ_INSERT_TAIL(&w->free, s, link); /* behind the slots that have a socket */
}

static void run_in_thread(struct workers *w, struct slot *s)
{
	/* A new request waits behind the others and does not postpone their retry. */
	if (STAILQ_EMPTY(&w->waiting_for_thread)) {
		s->in_thread = true;
		if (threads_run(w->threads, &s->job))
			return;
		w->threads_due_ms = w->now_ms + RETRY_MS;
	}
	s->in_thread = false;
	STAILQ_INSERT_TAIL(&w->waiting_for_thread, s, link);
}

/* Reports that the response was sent. */
static void finish(struct workers *w, struct slot *s)
{
	struct connection *c = s->connection;
	enum cgi_end end = relay_end(s->relay);

	relay_destroy(&s->relay);
	s->connection = NULL;
	c->slot = NULL;
	release(w, s);
	w->events.done(w->events.ctx, c, end);
}

static void drive(struct workers *w, struct slot *s)
{
	switch (s->state) {
	case RELAY_ASK:
		ask_send(s->ask, relay_message(s->relay));
		break;
	case RELAY_BODY:
		run_in_thread(w, s);
		break;
	case RELAY_STUCK:
		w->events.blocked(w->events.ctx, s->connection);
		break;
	case RELAY_OVER:
		finish(w, s);
		break;
	}
}

static void on_reply(void *ctx, uint16_t seat)
{
	struct workers *w = ctx;
	struct slot *s = &w->slots[seat];
	struct gate_msg reply;

	if (s->in_thread)
		return; /* its thread waits in ask_call() */
	ask_receive(s->ask, &reply);
	s->state = relay_take(s->relay, &reply, false);
	drive(w, s);
}

/* --- threads --- */

/* Runs in a thread: all that may block, until the request body is complete. For plain CGI that is
 * everything, because writing the response may block too. */
static void work(struct job *job)
{
	struct slot *s = (struct slot *)((char *)job - offsetof(struct slot, job));
	struct workers *w = s->workers;
	uint64_t one = 1;

	if (s->begun)
		s->state = relay_go_on(s->relay, true);
	else
		s->state = relay_start(s->relay, true);
	while (s->state == RELAY_ASK && (w->plain || relay_is_uploading(s->relay))) {
		struct gate_msg reply;
		ask_call(s->ask, relay_message(s->relay), &reply);
		s->state = relay_take(s->relay, &reply, true);
	}
	pthread_mutex_lock(&w->lock);
	STAILQ_INSERT_TAIL(&w->done, s, done_link);
	pthread_mutex_unlock(&w->lock);
	(void)!write(w->wake_fd, &one, sizeof one);
}

/* Continues with the requests that threads have returned. */
static void on_threads_done(void *ctx, struct event_source *self, uint32_t events)
{
	struct workers *w = ctx;
	struct slots back = STAILQ_HEAD_INITIALIZER(back);
	struct slot *s;
	uint64_t count;

	(void)self;
	(void)events;
	(void)!read(w->wake_fd, &count, sizeof count);
	pthread_mutex_lock(&w->lock);
	STAILQ_CONCAT(&back, &w->done);
	pthread_mutex_unlock(&w->lock);
	while ((s = STAILQ_FIRST(&back)) != NULL) {
		STAILQ_REMOVE_HEAD(&back, done_link);
		s->in_thread = false;
		s->begun = true;
		drive(w, s);
	}
}

static void retry_threads(struct workers *w)
{
	struct slots again = STAILQ_HEAD_INITIALIZER(again);
	struct slot *s;

	if (w->now_ms < w->threads_due_ms)
		return;
	STAILQ_CONCAT(&again, &w->waiting_for_thread);
	while ((s = STAILQ_FIRST(&again)) != NULL) {
		STAILQ_REMOVE_HEAD(&again, link);
		run_in_thread(w, s);
	}
}

/* --- from the server --- */

void workers_start(struct workers *w, struct slot *s, struct connection *c, bool whole)
{
	c->slot = s;
	s->connection = c;
	s->relay = relay_new(c->cgi, w->quota, w->max_body_bytes, c->arrived_ms);
	s->begun = whole;
	s->started_ms = w->now_ms;
	if (whole) {
		s->state = relay_start(s->relay, false);
		drive(w, s);
	} else {
		run_in_thread(w, s);
	}
}

void workers_writable(struct workers *w, struct connection *c)
{
	struct slot *s = c->slot;

	if (s->in_thread || s->state != RELAY_STUCK)
		return;
	s->state = relay_go_on(s->relay, false);
	drive(w, s);
}

void workers_work(struct workers *w, int64_t now_ms)
{
	w->now_ms = now_ms;
	if (w->now_ms >= w->pause_until_ms)
		w->pause_until_ms = 0;
	if (!STAILQ_EMPTY(&w->waiting_for_thread))
		retry_threads(w);
	mux_work(w->mux);
}

int workers_timeout_ms(const struct workers *w)
{
	int mux_ms = mux_timeout_ms(w->mux);
	bool retries = w->pause_until_ms != 0 || !STAILQ_EMPTY(&w->waiting_for_thread);

	return retries && (mux_ms < 0 || mux_ms > RETRY_MS) ? RETRY_MS : mux_ms;
}

bool workers_lack_descriptors(const struct workers *w)
{
	return w->pause_until_ms != 0;
}

/* --- the log --- */

static const char *state_name(const struct slot *s)
{
	static const char *const names[] = {[RELAY_ASK] = "WAITS_FOR_BROKER",
					    [RELAY_BODY] = "READS_BODY",
					    [RELAY_STUCK] = "WAITS_FOR_CALLER",
					    [RELAY_OVER] = "OVER"};

	return s->in_thread ? "IN_THREAD" : s->begun ? names[s->state] : "WAITS_FOR_THREAD";
}

void workers_dump(const struct workers *w, int64_t now_ms)
{
	size_t shown = 0;

	for (size_t i = 0; i < w->slot_count && shown < WORKERS_DUMP_MAX; i++) {
		const struct slot *s = &w->slots[i];
		if (s->connection == NULL)
			continue;
		const struct request *q = relay_request(s->relay);
		log_info("dump.request conn=%s corr=%s state=%s age_ms=%lld seat=%u",
			 q != NULL && *q->id != '\0' ? q->id : "-", q != NULL ? q->corr_hex : "-",
			 state_name(s), (long long)(now_ms - s->started_ms), s->number);
		shown++;
	}
	log_info("dump.end requests=%zu requests_left_out=%zu sockets=%zu", w->busy,
		 w->busy > shown ? w->busy - shown : 0, w->asks);
}

/* --- start and end --- */

static void on_mux_ready(void *ctx, struct event_source *self, uint32_t events)
{
	struct workers *w = ctx;

	(void)self;
	(void)events;
	mux_woken(w->mux);
}

static void make_slots(struct workers *w, size_t count)
{
	w->slot_count = count;
	w->slots = xcalloc(count, sizeof *w->slots);
	STAILQ_INIT(&w->free);
	STAILQ_INIT(&w->waiting_for_thread);
	STAILQ_INIT(&w->done);
	for (size_t i = 0; i < count; i++) {
		w->slots[i].workers = w;
		w->slots[i].number = (uint16_t)i;
		STAILQ_INSERT_TAIL(&w->free, &w->slots[i], link);
	}
}

struct workers *workers_new(const struct workers_settings *s, const struct workers_events *events,
			    char *why, size_t why_bytes)
{
	struct workers *w = xcalloc(1, sizeof *w);

	w->mux = mux_new(s->gate, s->slots, on_reply, w, why, why_bytes);
	if (w->mux == NULL) {
		free(w);
		return NULL;
	}
	w->events = *events;
	w->max_body_bytes = s->max_body_bytes;
	w->quota = quota_new(s->slots);
	w->threads = threads_new(s->slots, work);
	make_slots(w, s->slots);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(w->wake_fd >= 0 && pthread_mutex_init(&w->lock, NULL) == 0);
	w->threads_done = (struct event_source){on_threads_done, w};
	w->mux_ready = (struct event_source){on_mux_ready, w};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &w->threads_done};
	CHECK(epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &event) == 0);
	mux_watch(w->mux, s->epoll_fd, &w->mux_ready);
	return w;
}

void workers_set_plain(struct workers *w)
{
	w->plain = true;
}

bool workers_stop(struct workers *w)
{
	return threads_stop(w->threads, FORCED_STOP_MS);
}

bool workers_end_all(struct workers *w)
{
	log_warn("responder.forced_stop running=%zu", w->busy);
	mux_stop(w->mux);
	for (size_t i = 0; i < w->slot_count; i++) {
		struct slot *s = &w->slots[i];
		if (s->connection == NULL || s->in_thread)
			continue;
		if (s->begun)
			relay_end_now(s->relay);
		s->state = RELAY_OVER;
	}
	return workers_stop(w);
}

void workers_destroy(struct workers **wp)
{
	struct workers *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->slot_count; i++) {
		struct slot *s = &w->slots[i];
		if (s->connection != NULL) { /* ended by workers_end_all() */
			if (s->state != RELAY_OVER)
				relay_end_now(s->relay);
			relay_destroy(&s->relay);
			s->connection->slot = NULL;
		}
		ask_destroy(&s->ask);
	}
	threads_destroy(&w->threads);
	quota_destroy(&w->quota);
	mux_destroy(&w->mux);
	close(w->wake_fd);
	pthread_mutex_destroy(&w->lock);
	free(w->slots);
	free(w);
}
