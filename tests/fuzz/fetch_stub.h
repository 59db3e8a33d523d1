/* tests/fuzz/fetch_stub.h - Stands in for client/fetch.c: fetches that do what an input says,
 * without an app. Included by one file of a program. */
#ifndef PIPEGATE_FUZZ_FETCH_STUB_H
#define PIPEGATE_FUZZ_FETCH_STUB_H

#include "client/fetch.h"
#include "client/app_websocket.h"
#include "common/http.h"
#include "tests/fuzz/fuzz.h"

#include <sys/queue.h>

struct fetch {
	TAILQ_ENTRY(fetch) link;
	const struct fetch_events *events;
	void *ctx;
	bool headed, uploads, resumed;
};

static TAILQ_HEAD(, fetch) stub_fetches = TAILQ_HEAD_INITIALIZER(stub_fetches);
static size_t stub_fetch_count;

static bool values_are_valid(const void *head, size_t head_bytes)
{
	struct head_reader r;
	struct head_field f;
	int more;

	head_reader_init(&r, head, head_bytes);
	while ((more = head_next(&r, &f)) == 1) {
		if (!http_value_valid(f.value, f.value_bytes))
			return false;
	}
	return more == 0;
}

struct fetch *fetch_start(struct fetch_engine *o, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events, void *ctx,
			  enum fail *why)
{
	struct head_field f;

	(void)o;
	*why = FAIL_BAD_REQUEST;
	if (!head_find(head, head_bytes, ":method", &f) ||
	    !head_find(head, head_bytes, ":target", &f) || !values_are_valid(head, head_bytes))
		return NULL;
	*why = FAIL_NONE;
	struct fetch *fetch = xcalloc(1, sizeof *fetch);
	fetch->events = events;
	fetch->ctx = ctx;
	fetch->uploads = body == FETCH_BODY;
	TAILQ_INSERT_TAIL(&stub_fetches, fetch, link);
	stub_fetch_count++;
	return fetch;
}

static void stub_forget(struct fetch *f)
{
	TAILQ_REMOVE(&stub_fetches, f, link);
	stub_fetch_count--;
	free(f);
}

void fetch_resume(struct fetch *f, bool body, bool data)
{
	f->resumed = f->resumed || body || data;
}

void fetch_cancel(struct fetch **fp)
{
	if (*fp != NULL)
		stub_forget(*fp);
	*fp = NULL;
}

/* And for client/app_websocket.c. */
struct app_websocket *app_websocket_start(struct fetch_engine *o, const void *head,
					  size_t head_bytes, const struct fetch_events *events,
					  void *ctx, enum fail *why)
{
	return (struct app_websocket *)fetch_start(o, head, head_bytes, FETCH_BODY, events, ctx,
						   why);
}

void app_websocket_resume(struct app_websocket *u, bool body, bool data)
{
	fetch_resume((struct fetch *)u, body, data);
}

void app_websocket_cancel(struct app_websocket **up)
{
	struct fetch *f = (struct fetch *)*up;

	fetch_cancel(&f);
	*up = NULL;
}

/* The nth of those that run, counted round. NULL: none runs. */
static inline struct fetch *stub_fetch(size_t nth)
{
	struct fetch *f = TAILQ_FIRST(&stub_fetches);

	for (nth = stub_fetch_count ? nth % stub_fetch_count : 0; nth > 0; nth--)
		f = TAILQ_NEXT(f, link);
	return f;
}

static inline void stub_answer_head(struct fetch *f)
{
	struct head h = {0};

	if (f->headed)
		return;
	f->headed = true;
	head_add(&h, ":status", "200");
	head_add(&h, ":origin", "http://localhost:3000");
	head_add(&h, "set-cookie", "a=b");
	head_add(&h, "Set-Cookie", "c=\xff");
	head_add(&h, "x-dup", "1");
	head_add(&h, "X-Dup", "\xc3\xa9");
	head_add(&h, "x-dup", "\xe9");
	f->events->head(f->ctx, &h);
	head_fini(&h);
}

/* False: the session takes no more now. */
static inline bool stub_answer_data(struct fetch *f, size_t bytes)
{
	uint8_t *data = xcalloc(1, bytes);

	stub_answer_head(f);
	bool taken = f->events->data(f->ctx, data, bytes);
	free(data);
	return taken;
}

/* The app reads so much of the request body. */
static inline ssize_t stub_read_body(struct fetch *f, size_t bytes)
{
	uint8_t *out = xmalloc(bytes);
	ssize_t got = f->uploads && bytes > 0 ? f->events->body(f->ctx, out, bytes) : FETCH_END;

	CHECK(got == FETCH_END || (got >= 0 && (size_t)got <= bytes));
	free(out);
	return got;
}

static inline void stub_end(struct fetch *f, enum fail why)
{
	if (why == FAIL_NONE)
		stub_answer_head(f);
	f->events->end(f->ctx, why, true);
	stub_forget(f);
}

#endif
