/* Destination and If of WebDAV, and where URLs point to. The first byte says which, and what the
 * prefix is; then comes the field's value. */
#include "common/destination.h"

#include "common/http.h"
#include "tests/fuzz/fuzz.h"

enum { IS_IF = 1, NO_PREFIX = 2, NO_ORIGIN = 4, BASE = 8 };

static size_t count(const uint8_t *text, size_t bytes, char c)
{
	size_t found = 0;

	for (size_t i = 0; i < bytes; i++)
		found += text[i] == (uint8_t)c;
	return found;
}

static bool begins(const struct buf *b, const char *text)
{
	return buf_bytes(b) >= strlen(text) && memcmp(buf_first(b), text, strlen(text)) == 0;
}

static void check_place(const char *url, size_t bytes)
{
	struct place p;

	if (!place_read(&p, url, bytes))
		return;
	CHECK(p.bytes <= bytes && p.host_bytes > 0 && p.host + p.host_bytes <= url + p.bytes);
	CHECK(memchr(p.host, '@', p.host_bytes) == NULL &&
	      memchr(p.host, '/', p.host_bytes) == NULL);
	CHECK(place_same_host(&p, &p) && place_is_at(&p, &p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	uint8_t how = input_byte(&in);
	struct destination_map m = {.from_prefix = how & NO_PREFIX ? "" : "/t/abc",
				    .to_origin = "http://app:3000",
				    .to_prefix = how & BASE ? "/base" : ""};
	const char *name = how & IS_IF ? "If" : "Destination";
	char *value = copy_of(in.at, in.left);
	struct head_field f = {name, strlen(name), value, in.left};
	struct buf out = {0};

	if (!(how & NO_ORIGIN))
		CHECK(place_read(&m.from, "https://pub.example:8443", 24));
	check_place(value, in.left);
	destination_write(&out, &m, &f);
	if (http_value_valid(value, in.left))
		CHECK(http_value_valid((const char *)buf_first(&out), buf_bytes(&out)));
	bool same = buf_bytes(&out) == in.left &&
		    (in.left == 0 || memcmp(buf_first(&out), value, in.left) == 0);
	if (how & IS_IF) {
		for (const char *c = "<>()\""; *c != '\0'; c++)
			CHECK(count(buf_first(&out), buf_bytes(&out), *c) ==
			      count((const uint8_t *)value, in.left, *c));
		CHECK(same || memchr(value, '<', in.left) != NULL);
	} else if (!same) { /* it names what is asked for, and nothing above it */
		size_t origin = begins(&out, m.to_origin) ? strlen(m.to_origin) : 0;
		const char *path = (const char *)buf_first(&out) + origin;
		size_t path_bytes = buf_bytes(&out) - origin;
		/* a path gets an origin only where it would be "//host" without one */
		CHECK(origin == 0 || !(how & NO_ORIGIN) || !place_is_path(path, path_bytes));
		CHECK(origin > 0 || place_is_path(path, path_bytes));
		CHECK(path_bytes > strlen(m.to_prefix) &&
		      memcmp(path, m.to_prefix, strlen(m.to_prefix)) == 0 &&
		      path[strlen(m.to_prefix)] == '/');
		const char *question = memchr(path, '?', path_bytes);
		CHECK(http_path_is_plain(path, question ? (size_t)(question - path) : path_bytes));
	}
	buf_fini(&out);
	free(value);
	return 0;
}
