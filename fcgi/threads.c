/* fcgi/threads.c - see threads.h. */
#include "fcgi/threads.h"

#include "common/clock.h"
#include "common/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES (1024 * 1024) /* sanitizers make stack frames larger */
#else
#define STACK_BYTES (256 * 1024)
#endif

enum { IDLE_MS = 5000 }; /* an idle thread ends after this time */

struct threads {
	size_t threads_max;
	void (*work)(struct job *job);

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t given; /* signals a job, or the stop */
	pthread_cond_t ended; /* signals that a thread has ended */
	STAILQ_HEAD(, job) jobs;
	size_t waiting; /* jobs without a thread */
	size_t threads, idle;
	bool stopping;
};

/* Returns the next job; NULL: the thread must end. Call with the lock held. */
static struct job *next_job(struct threads *p)
{
	struct timespec last = clock_timespec(clock_now_ms() + IDLE_MS);
	int error = 0;

	p->idle++;
	while (STAILQ_EMPTY(&p->jobs) && !p->stopping && error == 0)
		error = pthread_cond_timedwait(&p->given, &p->lock, &last);
	p->idle--;
	struct job *job = STAILQ_FIRST(&p->jobs);
	if (job != NULL) {
		STAILQ_REMOVE_HEAD(&p->jobs, link);
		p->waiting--;
	}
	return job;
}

static void *run(void *arg)
{
	struct threads *p = arg;
	struct job *job;

	pthread_mutex_lock(&p->lock);
	while ((job = next_job(p)) != NULL) {
		pthread_mutex_unlock(&p->lock);
		p->work(job);
		pthread_mutex_lock(&p->lock);
	}
	p->threads--;
	pthread_cond_signal(&p->ended);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Starts one more thread. Call with the lock held. */
static bool grow(struct threads *p)
{
	pthread_attr_t attributes;
	pthread_t thread;

	CHECK(pthread_attr_init(&attributes) == 0);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	int error = pthread_create(&thread, &attributes, run, p);
	pthread_attr_destroy(&attributes);
	if (error != 0) {
		log_limited_error("", "threads.none_left running=%zu why=\"%s\"", p->threads,
				  strerror(error));
		return false;
	}
	p->threads++;
	return true;
}

bool threads_run(struct threads *p, struct job *job)
{
	pthread_mutex_lock(&p->lock);
	/* If the limit of threads is reached, one of them is about to become idle. */
	bool taken = p->waiting < p->idle || p->threads == p->threads_max || grow(p);
	if (taken) {
		STAILQ_INSERT_TAIL(&p->jobs, job, link);
		p->waiting++;
		pthread_cond_signal(&p->given);
	}
	pthread_mutex_unlock(&p->lock);
	return taken;
}

struct threads *threads_new(size_t threads_max, void (*work)(struct job *job))
{
	struct threads *p = xcalloc(1, sizeof *p);
	pthread_condattr_t monotonic;

	p->threads_max = threads_max;
	p->work = work;
	STAILQ_INIT(&p->jobs);
	CHECK(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_condattr_init(&monotonic) == 0 &&
	      pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
	      pthread_cond_init(&p->given, &monotonic) == 0 &&
	      pthread_cond_init(&p->ended, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	return p;
}

bool threads_stop(struct threads *p, int64_t max_ms)
{
	struct timespec last = clock_timespec(clock_now_ms() + max_ms);
	int error = 0;

	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->given);
	while (p->threads > 0 && error == 0)
		error = pthread_cond_timedwait(&p->ended, &p->lock, &last);
	bool all = p->threads == 0;
	pthread_mutex_unlock(&p->lock);
	return all;
}

void threads_destroy(struct threads **pp)
{
	struct threads *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	pthread_cond_destroy(&p->given);
	pthread_cond_destroy(&p->ended);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
