/* The response head of a client that nobody trusts. The first byte says how the caller knows the
 * app, and whether a head follows as it comes from the wire or as lines. */
#include "common/rewrite.h"

#include "tests/fuzz/lines.h"

static const char corr_hex[] = "0123456789abcdef0123456789abcdef";

enum { IS_HEAD = 1, PREFIXED = 2, NAMED = 4, RAW = 8, HTTP = 16 };

/* What web servers do with it: blanks around a value do not count. */
static bool starts_with_slash(const struct head_field *f)
{
	size_t blanks = 0;

	while (blanks < f->value_bytes && (f->value[blanks] == ' ' || f->value[blanks] == '\t'))
		blanks++;
	return blanks < f->value_bytes && f->value[blanks] == '/';
}

static void check_field(const struct response *r, const struct head_field *f)
{
	CHECK(f->name[0] != ':' && !http_hop_by_hop(f));
	CHECK(!http_name_is(f, "status") && !http_name_begins(f, "x-sendfile"));
	CHECK(!http_name_begins(f, "x-accel-") && !http_name_begins(f, "x-lighttpd-") &&
	      !http_name_begins(f, "x-litespeed-"));
	/* An order to a CGI gateway to answer from another of the server's paths. */
	if (r->status == 200 && field_is(f, "location"))
		CHECK(!starts_with_slash(f));
}

static void check_lines(const struct response *r, const struct public_name *q,
			const struct buf *out, const char *status_line)
{
	struct input in = {out->data, buf_bytes(out)};
	struct head_field f;
	size_t lengths = 0, ids = 0;
	size_t ignored;

	CHECK(in.at != NULL);
	const char *end = memmem(in.at, in.left, "\r\n", 2);
	CHECK(r->status >= 200 && r->status <= 599 && end != NULL);
	CHECK(memcmp(in.at, status_line, strlen(status_line)) == 0);
	(void)input_take(&in, (size_t)(end + 2 - (const char *)in.at), &ignored);
	while (next_header(&in, &f)) {
		if (http_name_begins(&f, "x-pipegate-")) {
			CHECK(field_is(&f, "x-pipegate-correlation-id") && f.value_bytes == 32);
			CHECK(in.left == 0);
			ids++;
			continue;
		}
		check_field(r, &f);
		lengths += field_is(&f, "content-length");
	}
	/* Prefixes make it longer, but not at will. */
	CHECK(buf_bytes(out) <= 2 * HEAD_MAX_BYTES + 100);
	CHECK(ids == 1 && lengths <= 1 && (lengths == 0 || r->has_length || r->status == 205));
	CHECK(!r->has_length || r->length_bytes >= 0);
	CHECK(r->bodiless ==
	      (q->is_head || r->status == 204 || r->status == 205 || r->status == 304));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	uint8_t how = input_byte(&in);
	const struct public_name q = {
		.prefix = how & PREFIXED ? "/t/abc" : "",
		.origin = how & NAMED ? "https://pub.example" : "",
		.corr_hex = corr_hex,
		.is_head = (how & IS_HEAD) != 0,
	};
	const char *status_line = how & HTTP ? "HTTP/1.1" : "Status:";
	struct head head = {0};
	struct buf out = {0};
	struct response r;

	if (how & RAW) {
		head.data = copy_of(in.at, in.left);
		head.bytes = in.left;
	} else {
		head_of_lines(&head, &in);
	}
	if (rewrite_response(&r, &q, status_line, head.data, head.bytes, &out)) {
		CHECK(head_valid(head.data, head.bytes));
		check_lines(&r, &q, &out, status_line);
	}
	head_fini(&head);
	buf_fini(&out);
	return 0;
}
