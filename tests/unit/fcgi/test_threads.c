/* fcgi/threads.c: jobs that block run side by side, each in a thread at once. */
#include "fcgi/threads.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { JOBS = 20, PATIENCE_MS = 60000 };

struct task {
	struct job job;
	sem_t begun, may_end;
};

static void work(struct job *job)
{
	struct task *t = (struct task *)job; /* its first member */

	sem_post(&t->begun);
	sem_wait(&t->may_end);
}

static void start(struct threads *p, struct task *t)
{
	sem_init(&t->begun, 0, 0);
	sem_init(&t->may_end, 0, 0);
	assert_true(threads_run(p, &t->job));
}

static void finish(struct task *t)
{
	sem_destroy(&t->begun);
	sem_destroy(&t->may_end);
}

static void all_run_at_the_same_time(void **unused)
{
	struct threads *p = threads_new(JOBS, work);
	static struct task tasks[JOBS];

	(void)unused;
	for (int i = 0; i < JOBS; i++)
		start(p, &tasks[i]);
	for (int i = 0; i < JOBS; i++)
		sem_wait(&tasks[i].begun); /* none has ended */
	for (int i = 0; i < JOBS; i++)
		sem_post(&tasks[i].may_end);
	assert_true(threads_stop(p, PATIENCE_MS));
	threads_destroy(&p);
	for (int i = 0; i < JOBS; i++)
		finish(&tasks[i]);
}

static void a_job_more_than_threads_waits(void **unused)
{
	struct threads *p = threads_new(1, work);
	struct task first, second;

	(void)unused;
	start(p, &first);
	sem_wait(&first.begun);
	start(p, &second);
	assert_int_not_equal(sem_trywait(&second.begun), 0);
	sem_post(&first.may_end);
	sem_wait(&second.begun);
	sem_post(&second.may_end);
	assert_true(threads_stop(p, PATIENCE_MS));
	threads_destroy(&p);
	finish(&first);
	finish(&second);
}

static void a_job_that_hangs_is_reported(void **unused)
{
	struct threads *p = threads_new(2, work);
	struct task t;

	(void)unused;
	start(p, &t);
	sem_wait(&t.begun);
	assert_false(threads_stop(p, 1));
	sem_post(&t.may_end);
	assert_true(threads_stop(p, PATIENCE_MS));
	threads_destroy(&p);
	finish(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_run_at_the_same_time),
		cmocka_unit_test(a_job_more_than_threads_waits),
		cmocka_unit_test(a_job_that_hangs_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
