/* The query of a form, which v1 sends decoded. */
#include "common/query.h"

#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

struct counted {
	size_t pairs, text_bytes;
};

static void count(void *ctx, const char *key, size_t key_bytes, const char *value,
		  size_t value_bytes)
{
	struct counted *c = ctx;
	size_t bytes;
	char *same = utf8_repair(key, key_bytes, &bytes);

	CHECK(bytes == key_bytes && memcmp(same, key, bytes) == 0);
	free(same);
	same = utf8_repair(value, value_bytes, &bytes);
	CHECK(bytes == value_bytes && memcmp(same, value, bytes) == 0);
	free(same);
	c->pairs++;
	c->text_bytes += key_bytes + value_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct counted c = {0};
	size_t pieces = 0;

	CHECK(query_parse((const char *)data, bytes, count, &c));
	for (size_t i = 0; i < bytes; i++)
		pieces += data[i] != '&' && (i == 0 || data[i - 1] == '&');
	CHECK(c.pairs == pieces);
	CHECK(c.text_bytes <= 3 * bytes); /* at worst each byte becomes U+FFFD */

	char *text = copy_of(data, bytes);
	size_t decoded = query_percent_decode(text, bytes, false);
	CHECK(decoded <= bytes && (bytes - decoded) % 2 == 0);
	if (memchr(data, '%', bytes) == NULL)
		CHECK(decoded == bytes && memcmp(text, data, bytes) == 0);
	free(text);
	return 0;
}
