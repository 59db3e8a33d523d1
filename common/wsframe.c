/* common/wsframe.c - see wsframe.h. */
#include "common/wsframe.h"

#include "common/bytes.h"
#include "common/check.h"

enum {
	CONTINUATION = 0,
	TEXT = 1,
	BINARY = 2,
	CLOSE = 8,
	FINAL = 0x80,
	MASKED = 0x80,
	LENGTH_16 = 126,
	LENGTH_64 = 127,
};

static void mask(uint8_t *payload, size_t bytes, const uint8_t key[WSFRAME_KEY_BYTES])
{
	uint64_t wide_key, wide;
	size_t i = 0;

	memcpy(&wide_key, key, WSFRAME_KEY_BYTES);
	memcpy((uint8_t *)&wide_key + WSFRAME_KEY_BYTES, key, WSFRAME_KEY_BYTES);
	for (; i + sizeof wide <= bytes; i += sizeof wide) {
		memcpy(&wide, payload + i, sizeof wide);
		wide ^= wide_key;
		memcpy(payload + i, &wide, sizeof wide);
	}
	for (; i < bytes; i++)
		payload[i] ^= key[i % WSFRAME_KEY_BYTES];
}

uint8_t *wsframe_write(uint8_t *payload, size_t bytes, const struct wsframe_piece *piece,
		       const uint8_t key[WSFRAME_KEY_BYTES], size_t *frame_bytes)
{
	uint8_t *at = payload - WSFRAME_KEY_BYTES;
	uint8_t opcode = !piece->first ? CONTINUATION : piece->text ? TEXT : BINARY;
	uint8_t length = bytes < LENGTH_16     ? (uint8_t)bytes
			 : bytes <= UINT16_MAX ? LENGTH_16
					       : LENGTH_64;

	mask(payload, bytes, key);
	memcpy(at, key, WSFRAME_KEY_BYTES);
	if (length == LENGTH_16) {
		at -= 2;
		put_be16(at, (uint16_t)bytes);
	} else if (length == LENGTH_64) {
		at -= 8;
		put_be64(at, bytes);
	}
	*--at = MASKED | length;
	*--at = (piece->final ? FINAL : 0) | opcode;
	*frame_bytes = (size_t)(payload - at) + bytes;
	return at;
}

size_t wsframe_write_control(uint8_t *out, uint8_t opcode, const void *payload, size_t bytes,
			     const uint8_t key[WSFRAME_KEY_BYTES])
{
	uint8_t *at = out + 2 + WSFRAME_KEY_BYTES;

	out[0] = FINAL | opcode;
	out[1] = (uint8_t)(MASKED | bytes);
	memcpy(out + 2, key, WSFRAME_KEY_BYTES);
	if (bytes > 0)
		memcpy(at, payload, bytes);
	mask(at, bytes, key);
	return 2 + WSFRAME_KEY_BYTES + bytes;
}

size_t wsframe_write_close(uint8_t *out, int code, const char *reason)
{
	size_t bytes = strlen(reason);

	CHECK(bytes <= 123);
	out[0] = FINAL | CLOSE;
	out[1] = (uint8_t)(2 + bytes);
	put_be16(out + 2, (uint16_t)code);
	memcpy(out + 4, reason, bytes);
	return 4 + bytes;
}

static size_t head_wanted_bytes(const struct wsframe_scanner *s)
{
	size_t bytes = 2;

	if (s->head_bytes < 2)
		return bytes;
	if ((s->head[1] & ~MASKED) == LENGTH_16)
		bytes += 2;
	else if ((s->head[1] & ~MASKED) == LENGTH_64)
		bytes += 8;
	return bytes + (s->head[1] & MASKED ? WSFRAME_KEY_BYTES : 0);
}

static void on_head_complete(struct wsframe_scanner *s)
{
	uint8_t length = s->head[1] & (uint8_t)~MASKED;

	s->payload_left_bytes = length == LENGTH_16   ? get_be16(s->head + 2)
				: length == LENGTH_64 ? get_be64(s->head + 2)
						      : length;
	s->head_bytes = 0;
}

void wsframe_scan(struct wsframe_scanner *s, const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		size_t used = 1;
		if (s->payload_left_bytes > 0) {
			used = s->payload_left_bytes < bytes ? (size_t)s->payload_left_bytes
							     : bytes;
			s->payload_left_bytes -= used;
		} else {
			s->head[s->head_bytes++] = *data;
			if (s->head_bytes == head_wanted_bytes(s))
				on_head_complete(s);
		}
		data += used;
		bytes -= used;
	}
}

bool wsframe_scanner_is_between(const struct wsframe_scanner *s)
{
	return s->head_bytes == 0 && s->payload_left_bytes == 0;
}
