/* fcgi/pool.c - see pool.h. */
#include "fcgi/pool.h"

#include "common/log.h"
#include "fcgi/cgi.h"
#include "fcgi/serve.h"
#include "fcgi/share.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES (1024 * 1024) /* their frames are larger */
#else
#define STACK_BYTES (256 * 1024)
#endif

enum {
	IDLE_MAX = 128, /* idle threads beyond these end; fewer would come and go with each burst */
	PAUSE_MS = 100, /* after an accept() that failed, such as for want of descriptors */
	KNOCK_MS = 20,	/* how often idle threads are told to stop: a signal may come too early */
	HURRY_MS = 1000,
};

struct worker {
	struct pool *pool;
	uint16_t number;
	bool running; /* the thread exists */
	bool idle;    /* waits for a request */
	pthread_t thread;
};

struct pool {
	int listen_fd;
	struct mux *mux;
	struct share *share;
	int64_t max_body_bytes;
	size_t threads_max;

	pthread_mutex_t lock; /* guards what follows, and the workers' flags */
	pthread_cond_t ended; /* a thread has ended */
	struct worker *workers;
	size_t running, idle;
	bool stopping;
};

/* Only there to interrupt accept(). */
static void on_knock(int signal_number)
{
	(void)signal_number;
}

static void deadline_in(struct timespec *t, int64_t ms)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += ms / 1000;
	t->tv_nsec += ms % 1000 * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
}

static bool is_past(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > t->tv_sec || (now.tv_sec == t->tv_sec && now.tv_nsec >= t->tv_nsec);
}

static void *run(void *arg);

/* One more thread, if there is room. With the lock held. */
static void grow(struct pool *p)
{
	struct worker *w = NULL;
	pthread_attr_t attributes;

	for (size_t i = 0; w == NULL && i < p->threads_max; i++)
		w = p->workers[i].running ? NULL : &p->workers[i];
	if (w == NULL)
		return;
	CHECK(pthread_attr_init(&attributes) == 0);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	int error = pthread_create(&w->thread, &attributes, run, w);
	pthread_attr_destroy(&attributes);
	if (error != 0) {
		log_error("pool.no_thread running=%zu why=\"%s\"", p->running, strerror(error));
		return;
	}
	w->running = true;
	w->idle = true;
	p->running++;
	p->idle++;
}

static void set_idle(struct worker *w, bool idle)
{
	struct pool *p = w->pool;

	if (w->idle != idle)
		p->idle = idle ? p->idle + 1 : p->idle - 1;
	w->idle = idle;
}

/* Before a wait. False: the thread ends, as nobody needs it. */
static bool stay(struct worker *w, const struct cgi *cgi)
{
	struct pool *p = w->pool;
	bool kept = cgi_keeps_connection(cgi);

	pthread_mutex_lock(&p->lock);
	bool result = !p->stopping && (kept || w->idle || p->idle < IDLE_MAX);
	if (result)
		set_idle(w, !kept);
	if (result && kept && p->idle == 0)
		grow(p); /* this one serves nobody else */
	pthread_mutex_unlock(&p->lock);
	return result;
}

static void begin(struct worker *w)
{
	struct pool *p = w->pool;

	pthread_mutex_lock(&p->lock);
	set_idle(w, false);
	if (p->idle == 0 && !p->stopping)
		grow(p);
	pthread_mutex_unlock(&p->lock);
}

static void end(struct worker *w)
{
	struct pool *p = w->pool;

	pthread_mutex_lock(&p->lock);
	set_idle(w, false);
	w->running = false;
	p->running--;
	pthread_cond_signal(&p->ended);
	pthread_mutex_unlock(&p->lock);
}

/* Only while it waits for a connection: a knock that came into the middle of a request would cut it. */
static int wait_for_connection(struct cgi *cgi, const sigset_t *knock)
{
	pthread_sigmask(SIG_UNBLOCK, knock, NULL);
	int got = cgi_wait(cgi);
	pthread_sigmask(SIG_BLOCK, knock, NULL);
	return got;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	struct cgi *cgi = cgi_new(p->listen_fd);
	struct ask *ask = ask_new(p->mux, w->number);
	sigset_t knock;

	sigemptyset(&knock);
	sigaddset(&knock, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &knock, NULL);
	while (ask != NULL && stay(w, cgi)) {
		int got = wait_for_connection(cgi, &knock);
		if (got == 1) {
			begin(w);
			if (cgi_accept(cgi))
				serve(cgi, ask, p->share, p->max_body_bytes);
		} else if (got < 0) {
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000}, NULL);
		}
	}
	ask_destroy(&ask);
	cgi_destroy(&cgi);
	end(w);
	return NULL;
}

struct pool *pool_new(int listen_fd, struct mux *mux, size_t threads_max, int64_t max_body_bytes)
{
	struct pool *p = xcalloc(1, sizeof *p);
	struct sigaction knock = {.sa_handler = on_knock};
	pthread_condattr_t monotonic;

	p->listen_fd = listen_fd;
	p->mux = mux;
	p->share = share_new(threads_max);
	p->max_body_bytes = max_body_bytes;
	p->threads_max = threads_max;
	p->workers = xcalloc(threads_max, sizeof *p->workers);
	for (size_t i = 0; i < threads_max; i++) {
		p->workers[i].pool = p;
		p->workers[i].number = (uint16_t)i;
	}
	CHECK(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_condattr_init(&monotonic) == 0 &&
	      pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
	      pthread_cond_init(&p->ended, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	sigaction(SIGUSR2, &knock, NULL); /* without SA_RESTART */
	pthread_mutex_lock(&p->lock);
	grow(p);
	pthread_mutex_unlock(&p->lock);
	return p;
}

/* Waits until no thread is left, and wakes the idle ones. With the lock held. */
static bool wait_for_all(struct pool *p, int64_t most_ms)
{
	struct timespec last;

	deadline_in(&last, most_ms);
	while (p->running > 0 && !is_past(&last)) {
		struct timespec next;
		for (size_t i = 0; i < p->threads_max; i++) {
			if (p->workers[i].running && p->workers[i].idle)
				pthread_kill(p->workers[i].thread, SIGUSR2);
		}
		deadline_in(&next, KNOCK_MS);
		pthread_cond_timedwait(&p->ended, &p->lock, &next);
	}
	return p->running == 0;
}

bool pool_stop(struct pool *p, int64_t drain_ms)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	bool all = wait_for_all(p, drain_ms);
	if (!all) {
		log_warn("pool.hurry running=%zu", p->running);
		mux_stop(p->mux);
		all = wait_for_all(p, HURRY_MS);
	}
	pthread_mutex_unlock(&p->lock);
	return all;
}

void pool_destroy(struct pool **pp)
{
	struct pool *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	share_destroy(&p->share);
	pthread_cond_destroy(&p->ended);
	pthread_mutex_destroy(&p->lock);
	free(p->workers);
	free(p);
}
