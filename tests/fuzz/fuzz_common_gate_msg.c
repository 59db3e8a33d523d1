/* A message of the gate protocol. */
#include "common/gate_msg.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct gate_msg m, again;

	if (!gate_msg_decode(data, bytes, &m))
		return 0;
	CHECK(gate_msg_bytes(&m) == bytes);
	CHECK(m.id == (const char *)data + GATE_CONTROL_BYTES);
	CHECK(m.head == (const uint8_t *)m.id + m.id_bytes);
	CHECK(m.body == m.head + m.head_bytes && m.body + m.body_bytes == data + bytes);

	uint8_t *wire = xmalloc(bytes);
	gate_msg_encode(&m, wire);
	CHECK(memcmp(wire, data, 56) == 0); /* then come eight bytes that are always zero */
	CHECK(memcmp(wire + GATE_CONTROL_BYTES, data + GATE_CONTROL_BYTES,
		     bytes - GATE_CONTROL_BYTES) == 0);
	CHECK(gate_msg_decode(wire, bytes, &again));
	CHECK(again.kind == m.kind && again.flags == m.flags && again.fail == m.fail);
	CHECK(again.seat == m.seat);
	CHECK(again.number == m.number && again.boot == m.boot && again.process == m.process);
	CHECK(again.body_total_bytes == m.body_total_bytes);
	CHECK(memcmp(again.corr, m.corr, CORR_BYTES) == 0);
	free(wire);
	return 0;
}
