/* A list of fields, as in all three protocols. */
#include "common/head.h"

#include "common/http.h"
#include "tests/fuzz/fuzz.h"

static void check_find(const uint8_t *data, size_t bytes, const struct head_field *f)
{
	struct head_field found;
	char *name = xcalloc(1, f->name_bytes + 1);

	memcpy(name, f->name, f->name_bytes);
	if (strlen(name) == f->name_bytes) {
		CHECK(field_is(f, name));
		CHECK(head_find(data, bytes, name, &found));
		CHECK(found.name <= f->name && field_is(&found, name));
	}
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct head_reader r;
	struct head_field f;
	struct head copy = {0}, twice = {0};
	struct http_connection connection;
	size_t fields = 0;
	int more;

	bool few = http_connection_read(&connection, data, bytes);
	CHECK(connection.count <= HTTP_CONNECTION_NAMES_MAX);
	CHECK(few || connection.count == HTTP_CONNECTION_NAMES_MAX);
	head_reader_init(&r, data, bytes);
	while ((more = head_next(&r, &f)) == 1) {
		CHECK(f.name_bytes > 0);
		CHECK((const uint8_t *)f.value + f.value_bytes <= data + bytes);
		if (fields++ < 8) {
			check_find(data, bytes, &f);
			(void)http_hop_by_hop(&f);
			(void)http_connection_names(&connection, &f);
		}
		head_add_bytes(&copy, f.name, f.name_bytes, f.value, f.value_bytes);
	}
	CHECK(head_valid(data, bytes) == (more == 0));
	if (more == 0) {
		CHECK(copy.bytes == bytes && (bytes == 0 || memcmp(copy.data, data, bytes) == 0));
		head_append(&twice, &copy);
		head_append(&twice, &copy);
		CHECK(twice.bytes == 2 * bytes && head_valid(twice.data, twice.bytes));
	}
	head_fini(&copy);
	head_fini(&twice);
	return 0;
}
