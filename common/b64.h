/* common/b64.h - base64 with padding (RFC 4648 section 4), by OpenSSL. */
#ifndef PIPEGATE_B64_H
#define PIPEGATE_B64_H

#include "common/check.h"

#include <stddef.h>
#include <stdint.h>

/* The text, NUL-terminated; the caller frees it. */
char *b64_encode(const void *data, size_t bytes, size_t *text_bytes);

/* The bytes; the caller frees them. NULL: not base64 (white space counts as that), or no memory. */
uint8_t *b64_decode(const char *text, size_t text_bytes, size_t *bytes) MUST_CHECK;

#endif
