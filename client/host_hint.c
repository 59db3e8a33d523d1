/* client/host_hint.c - see host_hint.h. */
#include "client/host_hint.h"

#include "common/log.h"

#include <string.h>

/* By the status, and by phrases at the start of known error pages. */
static bool refuses_host(int status, const char *data, size_t bytes)
{
	static const char *const phrases[] = {"invalid host", "invalid http_host", "this host",
					      "non-local 'host'"};
	char begin[512];
	size_t length = bytes < sizeof begin ? bytes : sizeof begin - 1;

	memcpy(begin, data, length);
	begin[length] = '\0';
	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
		if (strcasestr(begin, phrases[i]) != NULL)
			return true;
	}
	return status == 421;
}

void host_hint_on_body(struct host_hint *h, const struct target *t, int status, const char *data,
		       size_t bytes)
{
	if (h->given || bytes == 0 || t->host_header != HOST_KEEP ||
	    (status != 400 && status != 403 && status != 421) || !refuses_host(status, data, bytes))
		return;
	h->given = true;
	log_warn("target.refuses_host status=%d hint=\"--host-header target\"", status);
}
