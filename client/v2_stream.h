/* client/v2_stream.h - The streams of one v2 tunnel, client's side. A stream joins one exchange of
 * the broker's to one fetch at the local app.
 *
 * Both bodies are bounded by their windows: `up` holds at most what we granted, `down` stops the
 * fetch at 64 KiB or more. Events of fetches and frames only mark streams;
 * v2_stream_resume_all() resumes fetches, and v2_stream_pull() writes frames and frees. */
#ifndef PIPEGATE_V2_STREAM_H
#define PIPEGATE_V2_STREAM_H

#include "client/fetch.h"
#include "common/check.h"
#include "common/flow.h"
#include "common/frame.h"
#include "common/rtt.h"
#include "common/turns.h"
#include "common/window_budget.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct v2_stream;
TAILQ_HEAD(v2_stream_list, v2_stream);

/* Initialise with v2_stream_init_all(); end with v2_stream_free_all(). Private but for
 * `peer_window_bytes`, the broker's window for a new stream. */
struct v2_streams {
	struct fetch_engine *engine;
	const char *connection_id; /* for the log; NULL: it is unknown */
	/* Sends a frame ahead of those of streams. */
	void (*put_frame)(void *ctx, uint8_t type, uint32_t stream, const void *payload,
			  size_t bytes);
	int64_t (*now_ms)(void *ctx);
	void *ctx;
	int64_t peer_window_bytes;
	struct window_budget *windows;
	struct window_share window_share; /* of this tunnel */
	struct rtt rtt;			  /* may be used by the owner */

	struct v2_stream *hash;
	struct turns turns; /* of those that have something to send */
	struct v2_stream_list resuming;
	size_t up_bytes; /* in `up` of all streams */
};

void v2_stream_init_all(struct v2_streams *all);
void v2_stream_free_all(struct v2_streams *all);
size_t v2_stream_count(const struct v2_streams *all);
struct v2_stream *v2_stream_find(const struct v2_streams *all, uint32_t id); /* NULL: none */

/* Starts the stream that OPEN describes; its id is not in use. */
void v2_stream_open(struct v2_streams *all, const struct frame *f, const uint8_t *head,
		    size_t head_bytes, const uint8_t *body, size_t body_bytes);

/* Frames of the broker. */
void v2_stream_on_data(struct v2_stream *s, const struct frame *f, const uint8_t *data,
		       size_t bytes);
void v2_stream_on_window(struct v2_stream *s, const struct frame *f);

/* The broker broke the rules of one stream: RESET goes to it; the tunnel lives. */
void v2_stream_on_misuse(struct v2_stream *s, const char *why);

/* Measures the round trip, if it is time to. */
void v2_stream_ping(struct v2_streams *all, enum rtt_occasion occasion);

/* Ends the stream without a frame. `why`: for the log, of one that has not failed by itself. */
void v2_stream_free(struct v2_stream *s, enum fail why);

/* Once per turn of the loop. */
void v2_stream_resume_all(struct v2_streams *all);
bool v2_stream_must_resume(const struct v2_streams *all);

/* Appends frames to a message of which `used` bytes are written, until it holds
 * V2_STREAM_MESSAGE_BYTES or there is none. Returns what is written then. */
enum { V2_STREAM_MESSAGE_BYTES = 64 * 1024 };
size_t v2_stream_pull(struct v2_streams *all, uint8_t *out, size_t used);

/* `s` NULL: of no stream. */
void v2_stream_log_frame(const struct v2_stream *s, const char *event, const struct frame *f);
void v2_stream_dump(const struct v2_streams *all);

#endif
