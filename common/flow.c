/* common/flow.c - see flow.h. */
#include "common/flow.h"

#include "common/bytes.h"
#include "common/frame.h"

void flow_init(struct flow *f, int64_t send_window_bytes, int64_t receive_window_bytes)
{
	*f = (struct flow){.send_bytes = send_window_bytes, .receive_bytes = receive_window_bytes};
}

size_t flow_piece_bytes(const struct flow *f, size_t bytes)
{
	if (bytes > FRAME_DATA_BYTES)
		bytes = FRAME_DATA_BYTES;
	return (int64_t)bytes <= f->send_bytes ? bytes : (size_t)f->send_bytes;
}

void flow_sent(struct flow *f, size_t bytes)
{
	f->send_bytes -= (int64_t)bytes;
}

bool flow_on_window(struct flow *f, const uint8_t *payload, size_t bytes)
{
	if (bytes != 4 || (int64_t)get_be32(payload) > INT32_MAX - f->send_bytes)
		return false;
	f->send_bytes += get_be32(payload);
	return true;
}

bool flow_received(struct flow *f, size_t bytes)
{
	if ((int64_t)bytes > f->receive_bytes)
		return false;
	f->receive_bytes -= (int64_t)bytes;
	return true;
}

void flow_consumed(struct flow *f, size_t bytes)
{
	f->consumed_bytes += (int64_t)bytes;
}

uint32_t flow_grant(struct flow *f, int64_t window_bytes, size_t held_bytes)
{
	int64_t grant = window_bytes - f->receive_bytes - (int64_t)held_bytes;

	if (grant > f->consumed_bytes)
		grant = f->consumed_bytes;
	if (grant < window_bytes / 4)
		return 0;
	f->receive_bytes += grant;
	f->consumed_bytes -= grant;
	return (uint32_t)grant;
}
