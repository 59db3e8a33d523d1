/* What a caller says it wants to see: the Accept header. */
#include "common/local_reply.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text = xcalloc(1, bytes + 1), *more = xcalloc(1, bytes + 12);

	memcpy(text, data, bytes);
	bool html = local_reply_prefers_html(text);
	if (html) /* only who names it, or a range that it is in */
		CHECK(strcasestr(text, "text/") != NULL || strstr(text, "*/*") != NULL);
	strcpy(more, text);
	strcat(more, ",image/png"); /* nothing changes by what is neither */
	CHECK(local_reply_prefers_html(more) == html);
	free(text);
	free(more);
	return 0;
}
