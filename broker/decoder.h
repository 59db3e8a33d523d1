/* broker/decoder.h - Decodes large messages of tunnel clients on libuv's threads, so that the loop
 * goes on serving others: a message of 16 MiB takes a tenth of a second.
 *
 * At most two messages at one time, and one of each connection id: further ones wait in turn. */
#ifndef PIPEGATE_DECODER_H
#define PIPEGATE_DECODER_H

#include "broker/core/tunnel.h"
#include "common/buf.h"

#include <uv.h>

struct decoder;
struct decode_job;

struct decoder *decoder_new(uv_loop_t *loop);
void decoder_destroy(struct decoder **dp); /* waits for what is being decoded; NULL is fine */

/* Takes the message's memory. Later, on the loop: tunnel_on_decoded(), then done(ctx), and the
 * job is gone. */
struct decode_job *decoder_start(struct decoder *d, struct tunnel *t, struct buf *message,
				 void (*done)(void *ctx), void *ctx);

/* The tunnel is closed: neither of the two will be called. */
void decoder_cancel(struct decode_job *job);

#endif
