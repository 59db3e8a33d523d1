/* fcgi/quota.h - Who may have how many slots: one tunnel whose requests hang must leave some to the
 * others. Thread-safe. */
#ifndef PIPEGATE_QUOTA_H
#define PIPEGATE_QUOTA_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

struct quota;

struct quota *quota_new(size_t slots_max);
void quota_destroy(struct quota **sp);

/* A slot for a request of this connection id. An id may have up to three times as many as are free
 * then: alone it gets three quarters of all, two busy ones three sevenths each, and something is
 * always left. False: it has its share. Otherwise give it back. */
bool quota_reserve(struct quota *s, const char *id) MUST_CHECK;
void quota_release(struct quota *s, const char *id);

#endif
