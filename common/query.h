/* common/query.h - Query strings of forms (application/x-www-form-urlencoded, WHATWG URL 5.1). */
#ifndef PIPEGATE_QUERY_H
#define PIPEGATE_QUERY_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

/* Borrows key and value for the call. */
typedef void (*query_pair_fn)(void *ctx, const char *key, size_t key_bytes, const char *value,
			      size_t value_bytes);

/* Calls `pair` for each key=value between '&', in order, duplicates and empty values kept: '+' is a
 * space, %XX decoded, bytes that are no UTF-8 then become U+FFFD. Empty pieces ("&&") are
 * skipped. False: no memory. */
bool query_parse(const char *query, size_t bytes, query_pair_fn pair, void *ctx) MUST_CHECK;

/* Decodes %XX in place (a stray % stays); '+' too where `plus`. Returns the new length. */
size_t query_percent_decode(char *text, size_t bytes, bool plus);

#endif
