/* broker/decoder.h - Decodes large messages of tunnel clients on libuv's threads. A message of 16
 * MiB takes a tenth of a second, which would delay all other tunnels.
 *
 * It decodes at most two messages concurrently, and one per connection id; others wait in order of
 * arrival. */
#ifndef PIPEGATE_DECODER_H
#define PIPEGATE_DECODER_H

#include "broker/core/tunnel.h"
#include "common/buf.h"

#include <uv.h>

struct decoder;
struct decode_job;

struct decoder *decoder_new(uv_loop_t *loop);
/* Waits for running jobs. *dp may be NULL. */
void decoder_destroy(struct decoder **dp);

/* Takes the message's memory. When it is decoded, the loop calls tunnel_on_decoded(), then
 * done(ctx), and frees the job. */
struct decode_job *decoder_start(struct decoder *d, struct tunnel *t, struct buf *message,
				 void (*done)(void *ctx), void *ctx);

/* Cancels a job because its tunnel has closed. Neither function will be called. */
void decoder_cancel(struct decode_job *job);

#endif
