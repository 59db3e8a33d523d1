/* common/b64.h - base64 with padding (RFC 4648 section 4), by OpenSSL. */
#ifndef PIPEGATE_B64_H
#define PIPEGATE_B64_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The text, NUL-terminated; the caller frees it. */
char *b64_encode(const void *data, size_t bytes, size_t *text_bytes);

/* The bytes; the caller frees them. NULL: not base64 (white space counts as that), or no memory. */
uint8_t *b64_decode(const char *text, size_t text_bytes, size_t *bytes) MUST_CHECK;

/* For text that is made or read piece by piece. Encoding writes (bytes + 2) / 3 * 4 characters,
 * without NUL; only the last piece may have a length that is no multiple of 3. Decoding takes
 * digits and padding only, a multiple of 4, and writes 3 bytes for 4: those that padding stands
 * for are zero. */
bool b64_is_digit(uint8_t c);
void b64_encode_piece(const void *data, size_t bytes, char *text);
bool b64_decode_piece(const char *text, size_t text_bytes, uint8_t *data) MUST_CHECK;

#endif
