/* common/utf8.h - Makes text of untrusted bytes. Results end in NUL; the caller frees them. */
#ifndef PIPEGATE_UTF8_H
#define PIPEGATE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const char *text, size_t bytes); /* well-formed sequences only */

/* Returns the size of the buffer that utf8_repair_to() needs. */
static inline size_t utf8_repaired_max_bytes(size_t bytes)
{
	return 3 * bytes;
}

/* Returns the size of the buffer that utf8_from_latin1_to() needs. */
static inline size_t utf8_latin1_max_bytes(size_t bytes)
{
	return 2 * bytes;
}

/* Converts Latin-1 to UTF-8. The first form writes to the caller's buffer, without a NUL, and
 * returns the length. */
size_t utf8_from_latin1_to(char *out, const char *text, size_t bytes);
char *utf8_from_latin1(const char *text, size_t bytes, size_t *out_bytes);

/* Replaces each byte that is not part of a well-formed sequence (Unicode 3.9, table 3-7) by U+FFFD.
 * The first form writes to the caller's buffer, without a NUL, and returns the length. */
size_t utf8_repair_to(char *out, const char *text, size_t bytes);
char *utf8_repair(const char *text, size_t bytes, size_t *out_bytes);

#endif
