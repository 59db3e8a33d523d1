/* Any text of an event becomes one well-formed object, within its bounds. */
#include "common/log_json.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

enum { TEXT_MAX_BYTES = 2047, ROOM_BYTES = 3 * 2048 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *out = xmalloc(ROOM_BYTES);
	char *text;

	if (bytes > TEXT_MAX_BYTES)
		bytes = TEXT_MAX_BYTES;
	text = strndup((const char *)data, bytes);
	CHECK(text != NULL);
	size_t written = log_json_write(out, ROOM_BYTES, "info", text, bytes % 3);
	CHECK(written > 0 && written <= ROOM_BYTES);
	for (size_t i = 0; i < written; i++)
		CHECK(out[i] >= 0x20 && out[i] < 0x7f);
	json_t *object = json_loadb(out, written, JSON_REJECT_DUPLICATES, NULL);
	CHECK(json_is_object(object) && json_object_get(object, "event") != NULL);
	json_decref(object);
	free(text);
	free(out);
	return 0;
}
