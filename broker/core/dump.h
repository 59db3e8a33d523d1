/* broker/core/dump.h - SIGUSR1: the tables of the hub as lines of the log. At most DUMP_ROWS_MAX
 * rows of each, the oldest first, so that the loop does not stall; a last line says how many
 * were left out. */
#ifndef PIPEGATE_DUMP_H
#define PIPEGATE_DUMP_H

#include "broker/core/hub.h"

enum { DUMP_ROWS_MAX = 200 };

void dump_hub(const struct hub *h);

#endif
