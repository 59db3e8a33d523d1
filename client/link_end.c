/* client/link_end.c - see link_end.h. */
#include "client/link_end.h"

#include "common/cli.h"

#include <stdio.h>
#include <string.h>

void link_end_reset(struct link_end *e)
{
	*e = (struct link_end){0};
}

void link_end_set(struct link_end *e, int code, const void *reason, size_t bytes)
{
	char text[WEBSOCKET_CONTROL_BYTES + 1] = "";

	if (e->is_set)
		return;
	e->is_set = true;
	if (bytes > sizeof e->reason - 2)
		bytes = sizeof e->reason - 2;
	if (bytes > 0) {
		memcpy(e->reason, reason, bytes);
		memcpy(text, reason, bytes);
	}
	e->cause = (struct lifecycle_end){.code = code, .reason = e->reason, .reason_bytes = bytes};
	cli_show(e->shown, sizeof e->shown, text);
}

void link_end_set_words(struct link_end *e, int code, bool by_http, const char *words)
{
	if (e->is_set)
		return;
	e->is_set = true;
	e->cause = (struct lifecycle_end){.code = code, .by_http = by_http, .reason = ""};
	snprintf(e->shown, sizeof e->shown, "%s", words);
}
