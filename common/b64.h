/* common/b64.h - base64 with padding (RFC 4648 section 4), by OpenSSL. */
#ifndef PIPEGATE_B64_H
#define PIPEGATE_B64_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns the text, NUL-terminated; the caller frees it. */
char *b64_encode(const void *data, size_t bytes, size_t *text_bytes);

/* Returns the bytes; the caller frees them. NULL: not base64 (white space is not base64 either), or
 * out of memory. */
uint8_t *b64_decode(const char *text, size_t text_bytes, size_t *bytes) MUST_CHECK;

/* The same for base64url without padding (RFC 4648 section 5, RFC 7515 section 2). */
char *b64_encode_url(const void *data, size_t bytes, size_t *text_bytes);
uint8_t *b64_decode_url(const char *text, size_t text_bytes, size_t *bytes) MUST_CHECK;

/* For text that is written or read in pieces. The encoder writes (bytes + 2) / 3 * 4 characters,
 * without a NUL; the length of every piece but the last must be a multiple of 3. The decoder
 * accepts only digits and padding, in a multiple of 4, and writes 3 bytes for each 4 characters;
 * a byte that padding replaces is written as zero. */
bool b64_is_digit(uint8_t c);
void b64_encode_piece(const void *data, size_t bytes, char *text);
bool b64_decode_piece(const char *text, size_t text_bytes, uint8_t *data) MUST_CHECK;

#endif
