/* common/query.h - Query strings of forms (application/x-www-form-urlencoded, WHATWG URL 5.1). */
#ifndef PIPEGATE_QUERY_H
#define PIPEGATE_QUERY_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

/* Receives one pair. Both are valid only during the call. */
typedef void (*query_pair_fn)(void *ctx, const char *key, size_t key_bytes, const char *value,
			      size_t value_bytes);

/* Calls `pair` for each key=value between '&', in order, including duplicates and empty values. '+'
 * becomes a space, %XX is decoded, and then each byte that is not UTF-8 becomes U+FFFD. Empty
 * pieces ("&&") are skipped. False: out of memory. */
bool query_parse(const char *query, size_t bytes, query_pair_fn pair, void *ctx) MUST_CHECK;

/* Decodes %XX in place, and '+' too if `plus`. A '%' without two hex digits stays. Returns the new
 * length. */
size_t query_percent_decode(char *text, size_t bytes, bool plus);

#endif
