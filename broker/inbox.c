/* broker/inbox.c - see inbox.h. */
#include "broker/inbox.h"

enum {
	/* A larger message is decoded on another thread. */
	DECODE_HERE_BYTES = 64 * 1024,
};

void inbox_init(struct inbox *in, struct decoder *d, struct tunnel *t,
		void (*decoded)(struct inbox *in))
{
	*in = (struct inbox){.decoder = d, .tunnel = t, .decoded = decoded};
}

bool inbox_is_busy(const struct inbox *in)
{
	return in->job != NULL;
}

void inbox_drop(struct inbox *in)
{
	if (in->job != NULL)
		decoder_cancel(in->job);
	in->job = NULL;
	buf_fini(&in->message);
}

static void on_decoded(void *ctx)
{
	struct inbox *in = ctx;

	in->job = NULL;
	in->decoded(in);
}

static void on_whole_message(struct inbox *in)
{
	bool large = tunnel_decodes(in->tunnel) && buf_bytes(&in->message) > DECODE_HERE_BYTES;

	if (large && in->job == NULL) {
		in->job = decoder_start(in->decoder, in->tunnel, &in->message, on_decoded, in);
		return;
	}
	/* Moved, because the tunnel may call inbox_drop(). */
	struct buf whole = in->message;
	in->message = (struct buf){0};
	tunnel_on_message(in->tunnel, buf_first(&whole), buf_bytes(&whole));
	buf_fini(&whole);
}

void inbox_receive(struct inbox *in, const uint8_t *data, size_t bytes, bool final)
{
	if (buf_bytes(&in->message) + bytes > tunnel_message_max_bytes(in->tunnel))
		tunnel_kill(in->tunnel, 1009, "message too big");
	else if (final && buf_bytes(&in->message) == 0)
		tunnel_on_message(in->tunnel, data, bytes); /* in one piece: needs no copy */
	else if (!buf_try_append(&in->message, data, bytes))
		tunnel_kill(in->tunnel, 1011, "no memory");
	else if (final)
		on_whole_message(in);
	else
		tunnel_on_piece(in->tunnel, buf_bytes(&in->message));
}
