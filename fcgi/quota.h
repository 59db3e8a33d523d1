/* fcgi/quota.h - Fair-share limit of slots per connection id, so that one stalled tunnel cannot use
 * every slot. Thread-safe. */
#ifndef PIPEGATE_QUOTA_H
#define PIPEGATE_QUOTA_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>

struct quota;

struct quota *quota_new(size_t slots_max);
void quota_destroy(struct quota **sp);

/* Reserves a slot for a request of this connection id. An id may hold up to three times as many
 * slots as are free then: alone it gets three quarters of all, two busy ids three sevenths each,
 * and some are always left. Returns false if the id has its share. Otherwise quota_release() must
 * follow. */
bool quota_reserve(struct quota *s, const char *id) MUST_CHECK;
void quota_release(struct quota *s, const char *id);

#endif
