/* The parameters of a request, as "NAME=value" lines, and the answers that PipeGate itself makes
 * to it. */
#include "fcgi/request.h"

#include "common/id.h"
#include "common/local_reply.h"
#include "tests/fuzz/lines.h"

enum { ENTRIES_MAX = 64 };

struct parameters {
	char *entries[ENTRIES_MAX + 1];
	size_t count;
};

static const char *get(void *ctx, const char *name)
{
	const struct parameters *p = ctx;
	size_t bytes = strlen(name);

	for (size_t i = 0; i < p->count; i++) {
		if (strncmp(p->entries[i], name, bytes) == 0 && p->entries[i][bytes] == '=')
			return p->entries[i] + bytes + 1;
	}
	return NULL;
}

static const char *entry(void *ctx, size_t index)
{
	const struct parameters *p = ctx;

	return p->entries[index];
}

static bool value_is(const struct head_field *f, const char *want)
{
	return f->value_bytes == strlen(want) && memcmp(f->value, want, f->value_bytes) == 0;
}

static void check_ours(const struct head_field *f, unsigned *seen)
{
	static const char *const names[] = {
		"x-pipegate-correlation-id",
		"x-forwarded-for",
		"x-forwarded-proto",
		"x-forwarded-host",
		"x-forwarded-port",
		"x-forwarded-prefix",
		"forwarded",
	};
	size_t i = 0;

	while (i < sizeof names / sizeof names[0] && !field_is(f, names[i]))
		i++;
	CHECK(i < sizeof names / sizeof names[0] && !(*seen & 1u << i));
	*seen |= 1u << i;
}

static void check_head(const struct request *r, const char *uri)
{
	struct head_reader reader;
	struct head_field f;
	size_t ids = 0, hosts = 0;
	unsigned ours = 0;
	bool headers = false;
	int more;

	CHECK(id_connection_valid(r->id, strlen(r->id)));
	CHECK(head_find(r->head.data, r->head.bytes, ":method", &f));
	CHECK(http_token_valid(f.value, f.value_bytes));
	CHECK(head_find(r->head.data, r->head.bytes, ":target", &f));
	CHECK(f.value_bytes > 0 && *f.value == '/' && strlen(uri) >= f.value_bytes);
	CHECK(memcmp(uri + strlen(uri) - f.value_bytes, f.value, f.value_bytes) == 0);
	const char *question = memchr(f.value, '?', f.value_bytes);
	CHECK(http_path_is_plain(f.value, question ? (size_t)(question - f.value) : f.value_bytes));

	head_reader_init(&reader, r->head.data, r->head.bytes);
	while ((more = head_next(&reader, &f)) == 1) {
		bool pseudo = *f.name == ':';
		CHECK(!(pseudo && headers)); /* those with a colon stand first */
		headers = !pseudo;
		CHECK(http_token_valid(f.name + pseudo, f.name_bytes - pseudo));
		CHECK(http_value_valid(f.value, f.value_bytes));
		CHECK(!http_hop_by_hop(&f) && !field_is(&f, "content-length"));
		if (http_name_begins(&f, "x-pipegate-"))
			CHECK(field_is(&f, "x-pipegate-correlation-id") && ids++ == 0);
		if (http_name_is(&f, "host"))
			CHECK(hosts++ == 0);
		if (http_is_forwarding(&f)) /* ours, and each once */
			check_ours(&f, &ours);
	}
	CHECK(more == 0 && ids == 1 && (ours & 1));
}

/* A CGI response: header lines, an empty one, and the body that Content-Length tells of. */
static void check_answer(const struct request *r, struct buf *out, size_t statuses)
{
	struct input in = {out->data, buf_bytes(out)};
	struct head_field f;
	long long length = -1;

	CHECK(in.at != NULL);
	while (in.left > 0 && !(in.at[0] == '\r' && in.at[1] == '\n') && next_header(&in, &f)) {
		if (field_is(&f, "status"))
			CHECK(statuses-- > 0 && f.value_bytes > 4);
		if (field_is(&f, "content-length"))
			CHECK(length == -1 && http_length_parse(f.value, f.value_bytes, &length));
		if (field_is(&f, "location"))
			CHECK(value_is(&f, r->location) &&
			      memchr(f.value, ' ', f.value_bytes) == NULL);
	}
	CHECK(statuses == 0 && in.left >= 2 && memcmp(in.at, "\r\n", 2) == 0);
	CHECK(length >= 0 && in.left - 2 == (r->public.is_head ? 0 : (size_t)length));
	buf_fini(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	struct parameters parameters = {0};
	struct request_parameters p = {.ctx = &parameters, .get = get, .entry = entry};
	struct request r;
	struct buf out = {0};
	uint8_t how = input_byte(&in);

	while (parameters.count < ENTRIES_MAX &&
	       (parameters.entries[parameters.count] = input_line(&in)))
		parameters.count++;
	request_read(&r, &p);
	const char *uri = get(&parameters, "REQUEST_URI");
	if (r.kind == REQUEST_TUNNEL)
		check_head(&r, uri);
	if (r.kind == REQUEST_REDIRECT) {
		CHECK(id_connection_valid(r.id, strlen(r.id)) && *r.location == '/');
		local_reply_redirect(&out, &r.to, r.location);
		check_answer(&r, &out, 1);
	}
	local_reply_fail(&out, &r.to, r.kind == REQUEST_REFUSED ? r.fail : (enum fail)(how % 20),
			 how & 32, how & 64);
	check_answer(&r, &out, 1);
	local_reply_health(&out, &r.to, how & 128);
	check_answer(&r, &out, 1);
	request_fini(&r);
	while (parameters.count > 0)
		free(parameters.entries[--parameters.count]);
	return 0;
}
