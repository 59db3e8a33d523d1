/* Text of untrusted bytes: UTF-8, base64, the log's quoting. */
#include "common/b64.h"
#include "common/id.h"
#include "common/log.h"
#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

static void check_utf8(const char *text, size_t bytes)
{
	size_t repaired_bytes, again_bytes, latin1_bytes, wide = 0;
	char *repaired = utf8_repair(text, bytes, &repaired_bytes);
	char *again = utf8_repair(repaired, repaired_bytes, &again_bytes);
	char *latin1 = utf8_from_latin1(text, bytes, &latin1_bytes);

	CHECK(repaired_bytes >= bytes && repaired_bytes <= 3 * bytes);
	CHECK(repaired[repaired_bytes] == '\0' && latin1[latin1_bytes] == '\0');
	CHECK(again_bytes == repaired_bytes && memcmp(again, repaired, again_bytes) == 0);
	for (size_t i = 0; i < bytes; i++)
		wide += (text[i] & 0x80) != 0;
	CHECK(latin1_bytes == bytes + wide);
	if (wide == 0)
		CHECK(repaired_bytes == bytes &&
		      (bytes == 0 || memcmp(repaired, text, bytes) == 0));
	free(again);
	again = utf8_repair(latin1, latin1_bytes, &again_bytes);
	CHECK(again_bytes == latin1_bytes && memcmp(again, latin1, again_bytes) == 0);
	free(repaired);
	free(again);
	free(latin1);
}

static void check_b64(const char *text, size_t bytes)
{
	size_t data_bytes, text_bytes, back_bytes;
	uint8_t *data = b64_decode(text, bytes, &data_bytes);
	char *encoded = b64_encode(text, bytes, &text_bytes);
	uint8_t *back = b64_decode(encoded, text_bytes, &back_bytes);

	CHECK(text_bytes == (bytes + 2) / 3 * 4 && strlen(encoded) == text_bytes);
	CHECK(back != NULL && back_bytes == bytes &&
	      (bytes == 0 || memcmp(back, text, bytes) == 0));
	free(encoded);
	free(back);
	if (data == NULL)
		return;
	CHECK(bytes % 4 == 0 && data_bytes <= bytes / 4 * 3);
	encoded = b64_encode(data, data_bytes, &text_bytes);
	CHECK(text_bytes == bytes);
	if (bytes >= 4) /* bits that the padding leaves unused may differ */
		CHECK(memcmp(encoded, text, bytes - 4) == 0);
	free(encoded);
	free(data);
}

static void check_quote(const uint8_t *text, size_t bytes, size_t room)
{
	char *out = xmalloc(room);

	CHECK(log_quote(out, room, text, bytes) == out);
	size_t length = strlen(out);
	CHECK(length < room);
	for (size_t i = 0; i < length; i++) {
		CHECK(out[i] >= 0x20 && out[i] < 0x7f);
		if (out[i] == '\\')
			i++;
		else
			CHECK(out[i] != '"');
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *text = (const char *)data;

	check_utf8(text, bytes);
	check_b64(text, bytes);
	check_quote(data, bytes, 4 * bytes + sizeof "...");
	check_quote(data, bytes, sizeof "..." + (bytes ? data[0] % 32 : 0));
	if (id_connection_valid(text, bytes))
		CHECK(bytes >= 1 && bytes <= 64 && memchr(text, '/', bytes) == NULL &&
		      memchr(text, '\0', bytes) == NULL);
	return 0;
}
