/* broker/inbox.h - Gathers the pieces of one client's WebSocket messages, and hands whole
 * messages to its tunnel: at once, or, where they are large and in JSON, by way of the decoder. */
#ifndef PIPEGATE_INBOX_H
#define PIPEGATE_INBOX_H

#include "broker/decoder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded by its owner; zero: empty, and without a tunnel. */
struct inbox {
	struct decoder *decoder;
	struct tunnel *tunnel;
	struct buf message;	/* incomplete */
	struct decode_job *job; /* of a complete one; NULL: none */
	/* The job has ended: the socket may be read again. */
	void (*decoded)(struct inbox *in);
};

void inbox_init(struct inbox *in, struct decoder *d, struct tunnel *t,
		void (*decoded)(struct inbox *in));

/* One piece of a message; `final`: the last. May kill the tunnel, which may drop what is held
 * here. */
void inbox_receive(struct inbox *in, const uint8_t *data, size_t bytes, bool final);

/* True while a message is being decoded: its socket must not be read. */
bool inbox_is_busy(const struct inbox *in);

/* Frees what is held. `decoded` is not called any more. */
void inbox_drop(struct inbox *in);

#endif
