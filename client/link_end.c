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

void link_end_set_by_conn(struct link_end *e, const char *why, struct link_handshake *handshake)
{
	char words[LINK_END_SHOWN_BYTES];
	int status = 0;

	if (handshake != NULL) {
		(void)link_handshake_end(handshake);
		status = link_handshake_status(handshake);
		if (status != 0 || *why == '\0')
			link_end_set_words(e, status, true, link_handshake_why(handshake));
	}
	snprintf(words, sizeof words, "the connection broke: %s", why);
	link_end_set_words(e, LINK_END_LOST, false,
			   *why ? words : "the server closed the connection without a Close");
}

void link_end_set_by_time(struct link_end *e, enum lifecycle_state state,
			  struct link_handshake *handshake)
{
	const char *words = "the server did not respond to the handshake within 20 s";

	switch (state) {
	case LIFECYCLE_SHAKING:
		(void)link_handshake_end(handshake);
		if (link_handshake_status(handshake) != 0)
			words = link_handshake_why(handshake);
		link_end_set_words(e, link_handshake_status(handshake), true, words);
		break;
	case LIFECYCLE_GREETING:
		link_end_set_words(e, LINK_END_LOST, false, "the server sent no HELLO within 20 s");
		break;
	default: /* CLOSING has set its end; libcurl times out earlier */
		link_end_set_words(e, 0, false, "no connection within 20 s");
		break;
	}
}
