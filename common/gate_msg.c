/* common/gate_msg.c - see gate_msg.h. Layout of the control block, big-endian:
 *
 *    0 version 1   1 kind 1   2 flags 1   3 fail 1   4 number 4   8 corr 16
 *   24 boot 8     32 process 8   40 body_total 8   48 head_bytes 4   52 id_bytes 2   54 seat 2
 *   56 web_ms 4   60 zero 4 */
#include "common/gate_msg.h"

#include "common/bytes.h"

#include <string.h>

const char *gate_msg_kind_name(uint8_t kind)
{
	switch (kind) {
	case GATE_OPEN:
		return "OPEN";
	case GATE_STEP:
		return "STEP";
	case GATE_CANCEL:
		return "CANCEL";
	case GATE_PING:
		return "PING";
	case GATE_ALIVE:
		return "ALIVE";
	case GATE_REPLY:
		return "REPLY";
	case GATE_PONG:
		return "PONG";
	default:
		return "UNKNOWN";
	}
}

size_t gate_msg_bytes(const struct gate_msg *m)
{
	return GATE_CONTROL_BYTES + m->id_bytes + m->head_bytes + m->body_bytes;
}

static uint8_t *append(uint8_t *at, const void *data, size_t bytes)
{
	if (bytes)
		memcpy(at, data, bytes);
	return at + bytes;
}

void gate_msg_encode(const struct gate_msg *m, uint8_t *out)
{
	memset(out, 0, GATE_CONTROL_BYTES);
	out[0] = GATE_VERSION;
	out[1] = m->kind;
	out[2] = m->flags;
	out[3] = m->fail;
	put_be32(out + 4, m->number);
	memcpy(out + 8, m->corr, CORR_BYTES);
	put_be64(out + 24, m->boot);
	put_be64(out + 32, m->process);
	put_be64(out + 40, m->body_total_bytes);
	put_be32(out + 48, (uint32_t)m->head_bytes);
	put_be16(out + 52, (uint16_t)m->id_bytes);
	put_be16(out + 54, m->seat);
	put_be32(out + 56, m->web_ms);

	uint8_t *at = append(out + GATE_CONTROL_BYTES, m->id, m->id_bytes);
	at = append(at, m->head, m->head_bytes);
	append(at, m->body, m->body_bytes);
}

bool gate_msg_decode(const void *data, size_t bytes, struct gate_msg *out)
{
	const uint8_t *in = data;

	if (bytes < GATE_CONTROL_BYTES || in[0] != GATE_VERSION)
		return false;
	size_t rest = bytes - GATE_CONTROL_BYTES;
	size_t head_bytes = get_be32(in + 48);
	size_t id_bytes = get_be16(in + 52);
	if (id_bytes > rest || head_bytes > rest - id_bytes)
		return false;

	*out = (struct gate_msg){
		.kind = in[1],
		.flags = in[2],
		.fail = in[3],
		.seat = get_be16(in + 54),
		.number = get_be32(in + 4),
		.web_ms = get_be32(in + 56),
		.boot = get_be64(in + 24),
		.process = get_be64(in + 32),
		.body_total_bytes = get_be64(in + 40),
		.id = (const char *)in + GATE_CONTROL_BYTES,
		.id_bytes = id_bytes,
		.head = in + GATE_CONTROL_BYTES + id_bytes,
		.head_bytes = head_bytes,
		.body = in + GATE_CONTROL_BYTES + id_bytes + head_bytes,
		.body_bytes = rest - id_bytes - head_bytes,
	};
	memcpy(out->corr, in + 8, CORR_BYTES);
	return true;
}
