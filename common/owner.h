/* common/owner.h - From a struct that is embedded in another one to that one. */
#ifndef PIPEGATE_OWNER_H
#define PIPEGATE_OWNER_H

#include <stddef.h>

#define OWNER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
