/* common/utf8.h - Making text of untrusted bytes. Results end in NUL; the caller frees them. */
#ifndef PIPEGATE_UTF8_H
#define PIPEGATE_UTF8_H

#include <stddef.h>

char *utf8_from_latin1(const char *text, size_t bytes, size_t *out_bytes);

/* Each byte that is not part of a well-formed sequence (Unicode 3.9, table 3-7) becomes U+FFFD. */
char *utf8_repair(const char *text, size_t bytes, size_t *out_bytes);

#endif
