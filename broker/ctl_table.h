/* broker/ctl_table.h - Tables for people, at most CTL_TABLE_COLUMNS wide, from the responses of
 * control.h. A text that does not fit ends in "..". Written to stdout. */
#ifndef PIPEGATE_CTL_TABLE_H
#define PIPEGATE_CTL_TABLE_H

#include <jansson.h>

enum { CTL_TABLE_COLUMNS = 80 };

void ctl_table_tunnels(const json_t *body); /* of /v1/tunnels */
void ctl_table_id(const json_t *body);	    /* of /v1/id */

#endif
