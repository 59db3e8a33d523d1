/* fcgi/share.h - Who may have how many slots: one tunnel whose requests hang must leave some to the
 * others. Thread-safe. */
#ifndef PIPEGATE_SHARE_H
#define PIPEGATE_SHARE_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

struct share;

struct share *share_new(size_t slots_max);
void share_destroy(struct share **sp);

/* A slot for a request of this connection id. An id may have up to three times as many as are free
 * then: alone it gets three quarters of all, two busy ones three sevenths each, and something is always
 * left. False: it has its share. Otherwise give it back. */
bool share_take(struct share *s, const char *id) MUST_CHECK;
void share_give(struct share *s, const char *id);

#endif
