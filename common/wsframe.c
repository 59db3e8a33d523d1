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
