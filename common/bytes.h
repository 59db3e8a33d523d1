/* common/bytes.h - Big-endian integers in byte buffers of any alignment. */
#ifndef PIPEGATE_BYTES_H
#define PIPEGATE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t get_be16(const void *at)
{
	uint16_t v;
	memcpy(&v, at, sizeof v);
	return be16toh(v);
}

static inline uint32_t get_be32(const void *at)
{
	uint32_t v;
	memcpy(&v, at, sizeof v);
	return be32toh(v);
}

static inline uint64_t get_be64(const void *at)
{
	uint64_t v;
	memcpy(&v, at, sizeof v);
	return be64toh(v);
}

static inline void put_be16(void *at, uint16_t v)
{
	v = htobe16(v);
	memcpy(at, &v, sizeof v);
}

static inline void put_be32(void *at, uint32_t v)
{
	v = htobe32(v);
	memcpy(at, &v, sizeof v);
}

static inline void put_be64(void *at, uint64_t v)
{
	v = htobe64(v);
	memcpy(at, &v, sizeof v);
}

#endif
