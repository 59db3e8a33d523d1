/* broker/decoder.c - see decoder.h. */
#include "broker/decoder.h"

#include "broker/core/v1_response.h"
#include "common/gate_msg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Limit on jobs that run concurrently; others wait. */
enum { RUNNING_MAX = 2 };

struct decode_job {
	TAILQ_ENTRY(decode_job) link; /* decoder->waiting, or decoder->running */
	uv_work_t work;
	struct decoder *decoder;
	struct tunnel *tunnel;		      /* NULL: cancelled */
	char id[CONNECTION_ID_MAX_BYTES + 1]; /* of the tunnel */
	struct buf message;
	struct v1_response response;
	void (*done)(void *ctx);
	void *ctx;
};

TAILQ_HEAD(job_list, decode_job);

struct decoder {
	uv_loop_t *loop;
	struct job_list waiting, running;
	size_t running_count;
};

static void start_waiting(struct decoder *d);

static void job_free(struct decode_job *job)
{
	buf_fini(&job->message);
	v1_response_fini(&job->response);
	free(job);
}

/* Runs on a thread of libuv, so it must access nothing but the job's own memory. */
static void work(uv_work_t *request)
{
	struct decode_job *job = request->data;

	v1_response_decode(&job->response, &job->message);
}

static void after_work(uv_work_t *request, int status)
{
	struct decode_job *job = request->data;
	struct decoder *d = job->decoder;

	(void)status;
	TAILQ_REMOVE(&d->running, job, link);
	d->running_count--;
	if (job->tunnel != NULL) {
		tunnel_on_decoded(job->tunnel, &job->response);
		job->done(job->ctx);
	}
	job_free(job);
	start_waiting(d);
}

static bool id_is_busy(const struct decoder *d, const char *id)
{
	const struct decode_job *job;

	TAILQ_FOREACH (job, &d->running, link) {
		if (strcmp(job->id, id) == 0)
			return true;
	}
	return false;
}

static void start_waiting(struct decoder *d)
{
	struct decode_job *job, *next;

	for (job = TAILQ_FIRST(&d->waiting); job != NULL && d->running_count < RUNNING_MAX;
	     job = next) {
		next = TAILQ_NEXT(job, link);
		if (id_is_busy(d, job->id))
			continue;
		TAILQ_REMOVE(&d->waiting, job, link);
		TAILQ_INSERT_TAIL(&d->running, job, link);
		d->running_count++;
		CHECK(uv_queue_work(d->loop, &job->work, work, after_work) == 0);
	}
}

struct decode_job *decoder_start(struct decoder *d, struct tunnel *t, struct buf *message,
				 void (*done)(void *ctx), void *ctx)
{
	struct decode_job *job = xcalloc(1, sizeof *job);

	job->decoder = d;
	job->work.data = job;
	job->tunnel = t;
	strcpy(job->id, tunnel_id(t));
	job->message = *message;
	*message = (struct buf){0};
	job->done = done;
	job->ctx = ctx;
	tunnel_on_decoding(t, buf_bytes(&job->message));
	TAILQ_INSERT_TAIL(&d->waiting, job, link);
	start_waiting(d);
	return job;
}

static bool is_waiting(const struct decode_job *job)
{
	const struct decode_job *other;

	TAILQ_FOREACH (other, &job->decoder->waiting, link) {
		if (other == job)
			return true;
	}
	return false;
}

void decoder_cancel(struct decode_job *job)
{
	job->tunnel = NULL;
	if (!is_waiting(job))
		return; /* after_work() frees it */
	TAILQ_REMOVE(&job->decoder->waiting, job, link);
	job_free(job);
}

struct decoder *decoder_new(uv_loop_t *loop)
{
	struct decoder *d = xcalloc(1, sizeof *d);

	d->loop = loop;
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->running);
	return d;
}

void decoder_destroy(struct decoder **dp)
{
	struct decoder *d = *dp;
	struct decode_job *job;

	*dp = NULL;
	if (d == NULL)
		return;
	while ((job = TAILQ_FIRST(&d->waiting)) != NULL)
		decoder_cancel(job);
	TAILQ_FOREACH (job, &d->running, link)
		job->tunnel = NULL;
	while (d->running_count > 0)
		uv_run(d->loop, UV_RUN_ONCE);
	free(d);
}
