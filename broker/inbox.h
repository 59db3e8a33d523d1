/* broker/inbox.h - Assembles the WebSocket messages of one client, and passes complete ones to its
 * tunnel. Large JSON messages pass through the decoder. */
#ifndef PIPEGATE_INBOX_H
#define PIPEGATE_INBOX_H

#include "broker/decoder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in its owner's struct. Zero: empty, and without a tunnel. */
struct inbox {
	struct decoder *decoder;
	struct tunnel *tunnel;
	struct buf message;	/* incomplete */
	struct decode_job *job; /* decodes a complete one; NULL: none */
	/* Called when the job has ended: the socket may be read again. */
	void (*decoded)(struct inbox *in);
};

void inbox_init(struct inbox *in, struct decoder *d, struct tunnel *t,
		void (*decoded)(struct inbox *in));

/* Adds one piece of a message; `final`: the last one. May kill the tunnel, which may call
 * inbox_drop(). */
void inbox_receive(struct inbox *in, const uint8_t *data, size_t bytes, bool final);

/* True while a message is being decoded: the socket must not be read. */
bool inbox_is_busy(const struct inbox *in);

/* Frees everything. `decoded` will not be called. */
void inbox_drop(struct inbox *in);

#endif
