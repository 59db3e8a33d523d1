/* Which tunnel a request is for, and what its head becomes (contract section 3). */
#include "common/local_reply.h"
#include "common/check.h"
#include "common/head.h"
#include "fcgi/request.h"
#include "fcgi/quota.h"
#include "tests/unit/inbound_rows.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* after those that it needs */
#include <cmocka.h>

static const char *get(void *ctx, const char *name)
{
	const char *const *entries = ctx;

	for (size_t bytes = strlen(name); *entries; entries++) {
		if (strncmp(*entries, name, bytes) == 0 && (*entries)[bytes] == '=')
			return *entries + bytes + 1;
	}
	return NULL;
}

static const char *entry(void *ctx, size_t index)
{
	return ((const char *const *)ctx)[index];
}

/* `entries` ends in NULL. */
static void read_entries(struct request *r, const char *const *entries)
{
	struct request_parameters p = {.ctx = (void *)entries, .get = get, .entry = entry};

	request_read(r, &p);
}

static void read_uri(struct request *r, const char *uri, const char *normal, const char *more)
{
	char uri_entry[512], normal_entry[512];
	const char *entries[] = {"REQUEST_METHOD=GET",	  uri_entry, normal_entry,
				 "HTTP_HOST=pub.example", more,	     NULL};

	snprintf(uri_entry, sizeof uri_entry, "REQUEST_URI=%s", uri);
	snprintf(normal_entry, sizeof normal_entry, "SCRIPT_NAME=%s", normal);
	read_entries(r, entries);
}

static const struct {
	const char *uri, *normal, *more;
	enum request_kind kind;
	enum fail fail;
	const char *id, *target;
} routes[] = {
	{"/abc/x?y=1&y=", "/abc/x", NULL, REQUEST_TUNNEL, 0, "abc", "/x?y=1&y="},
	{"/abc/", "/abc/", NULL, REQUEST_TUNNEL, 0, "abc", "/"},
	{"http://evil.example/abc/x%2F?y", "/abc/x/", NULL, REQUEST_TUNNEL, 0, "abc", "/x%2F?y"},
	{"HTTPS://u@h:1/abc/x", "/abc/x", NULL, REQUEST_TUNNEL, 0, "abc", "/x"},
	{"http://h/abc/%2e%2e/x", "/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"http://h", "/", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"ftp://h/abc/x", "/abc/x", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/abc//x%2F%3F", "/abc/x/?", NULL, REQUEST_TUNNEL, 0, "abc", "//x%2F%3F"},
	{"/abc", "/abc", NULL, REQUEST_REDIRECT, 0, "abc", NULL},
	{"/healthz", "/healthz", NULL, REQUEST_HEALTHZ, 0, NULL, NULL},
	{"/healthz?x", "/healthz", NULL, REQUEST_HEALTHZ, 0, NULL, NULL},
	{"/healthz/x", "/healthz/x", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/", "/", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/a.b/x", "/a.b/x", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"*", "*", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	/* raw and normalised part */
	{"/abc/p/%2e%2e/x", "/abc/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"/abc/p/..%2fx", "/abc/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"/abc/p%5c..%5cx", "/abc/p\\..\\x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"/abc/p\\..", "/abc/p\\..", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"//abc/x", "/abc/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, "", NULL},
	{"/%61bc/x", "/abc/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, "", NULL},
	{"/x/../abc/y", "/abc/y", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, "", NULL},
	{"/abc%2Fx", "/abc/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, "", NULL},
	{"/abc/...", "/abc/...", NULL, REQUEST_TUNNEL, 0, "abc", "/..."},
	{"/abc/x..y", "/abc/x..y", NULL, REQUEST_TUNNEL, 0, "abc", "/x..y"},
	/* what is percent-encoded is the app's to judge */
	{"/abc/a%0Ab%0d%09%7f", "/abc/a\nb\r\t\x7f", NULL, REQUEST_TUNNEL, 0, "abc",
	 "/a%0Ab%0d%09%7f"},
	{"/abc/..%0a/x", "/abc/..\n/x", NULL, REQUEST_TUNNEL, 0, "abc", "/..%0a/x"},
	{"/abc/x%00y", "/abc/x_y", NULL, REQUEST_TUNNEL, 0, "abc", "/x%00y"},
	{"/abc/..%00/x", "/abc/.._/x", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"/abc%0a/x", "/abc\n/x", NULL, REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	/* what would end a line of a head, or a request line */
	{"/abc/a\tb", "/abc/a\tb", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"/abc/a\x7f", "/abc/a\x7f", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	{"/abc/x?\r\nx: y", "/abc/x", NULL, REQUEST_REFUSED, FAIL_BAD_REQUEST, NULL, NULL},
	{"/abc?\r\nx: y", "/abc", NULL, REQUEST_REFUSED, FAIL_BAD_REQUEST, NULL, NULL},
	{"/abc?a b", "/abc", NULL, REQUEST_REFUSED, FAIL_BAD_REQUEST, NULL, NULL},
	{"/abc\x01", "/abc", NULL, REQUEST_REFUSED, FAIL_BAD_PATH, NULL, NULL},
	/* other ways to name the tunnel */
	{"/t/abc/x", "/t/abc/x", "PIPEGATE_MOUNT=/t", REQUEST_TUNNEL, 0, "abc", "/x"},
	{"/t/healthz", "/t/healthz", "PIPEGATE_MOUNT=/t", REQUEST_HEALTHZ, 0, NULL, NULL},
	{"/abc/x", "/abc/x", "PIPEGATE_MOUNT=/t", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/tabc/x", "/tabc/x", "PIPEGATE_MOUNT=/t", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/healthz", "/healthz", "PIPEGATE_CONNECTION_ID=my-app", REQUEST_TUNNEL, 0, "my-app",
	 "/healthz"},
	{"/a/../b", "/b", "PIPEGATE_CONNECTION_ID=my-app", REQUEST_REFUSED, FAIL_BAD_PATH, NULL,
	 NULL},
	{"/x", "/x", "PIPEGATE_HOST_SUFFIX=.example", REQUEST_TUNNEL, 0, "pub", "/x"},
	{"/x", "/x", "PIPEGATE_HOST_SUFFIX=.other", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/x", "/x", "PIPEGATE_HOST_SUFFIX=pub.example", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL,
	 NULL},
	{"/abc/x", "/abc/x", "PIPEGATE_CLIENTS_ONLY=1", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL,
	 NULL},
	{"/abc", "/abc", "PIPEGATE_CLIENTS_ONLY=1", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/", "/", "PIPEGATE_CLIENTS_ONLY=1", REQUEST_REFUSED, FAIL_NOT_FOUND, NULL, NULL},
	{"/healthz", "/healthz", "PIPEGATE_CLIENTS_ONLY=1", REQUEST_HEALTHZ, 0, NULL, NULL},
};

static void test_routes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		struct request r;
		struct head_field f;
		read_uri(&r, routes[i].uri, routes[i].normal, routes[i].more);
		if (r.kind != routes[i].kind ||
		    (r.kind == REQUEST_REFUSED && r.fail != routes[i].fail))
			fail_msg("%s: kind %d, fail %d", routes[i].uri, r.kind, r.fail);
		if (routes[i].id != NULL)
			assert_string_equal(r.id, routes[i].id);
		if (routes[i].target != NULL) {
			assert_true(head_find(r.head.data, r.head.bytes, ":target", &f));
			assert_int_equal(f.value_bytes, strlen(routes[i].target));
			assert_memory_equal(f.value, routes[i].target, f.value_bytes);
		}
		request_fini(&r);
	}
}

/* Hosts have no case, connection ids have: the label becomes lower case, and then is judged. */
static void test_wildcard_host(void **state)
{
	static const struct {
		const char *host, *id; /* NULL: 404 */
	} rows[] = {
		{"my-app.t.example", "my-app"},
		{"My-App.T.EXAMPLE:8080", "my-app"},
		{"my-app.t.example.", "my-app"},
		{"healthz.t.example", NULL},
		{"HealthZ.t.example", NULL},
		{"a.b.t.example", NULL},
		{".t.example", NULL},
		{"t.example", NULL},
		{"my-app.t.example.evil", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char host[64];
		const char *entries[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/x", host,
					 "PIPEGATE_HOST_SUFFIX=.t.example", NULL};
		struct request r;
		snprintf(host, sizeof host, "HTTP_HOST=%s", rows[i].host);
		read_entries(&r, entries);
		if (rows[i].id == NULL) {
			if (r.kind != REQUEST_REFUSED || r.fail != FAIL_NOT_FOUND)
				fail_msg("%s got through as %s", rows[i].host, r.id);
		} else {
			assert_int_equal(r.kind, REQUEST_TUNNEL);
			assert_string_equal(r.id, rows[i].id);
		}
		request_fini(&r);
	}
}

static void test_redirect_keeps_the_query(void **state)
{
	struct request r;

	(void)state;
	read_uri(&r, "/t/abc?a=%2F&b", "/t/abc", "PIPEGATE_MOUNT=/t");
	assert_int_equal(r.kind, REQUEST_REDIRECT);
	assert_string_equal(r.location, "/t/abc/?a=%2F&b");
	request_fini(&r);
}

static void expect_field(const struct request *r, const char *name, const char *value)
{
	struct head_field f;

	if (!head_find(r->head.data, r->head.bytes, name, &f)) {
		if (value != NULL)
			fail_msg("no %s", name);
		return;
	}
	if (value == NULL || strlen(value) != f.value_bytes ||
	    memcmp(value, f.value, f.value_bytes))
		fail_msg("%s is %.*s", name, (int)f.value_bytes, f.value);
}

static void test_headers(void **state)
{
	const char *entries[] = {"REQUEST_METHOD=POST",
				 "REQUEST_URI=/abc/x",
				 "SCRIPT_NAME=/abc/x",
				 "HTTP_HOST=pub.example:8443",
				 "HTTPS=on",
				 "REMOTE_ADDR=192.0.2.7",
				 "CONTENT_LENGTH=12",
				 "CONTENT_TYPE=text/x",
				 "HTTP_CONTENT_LENGTH=99",
				 "HTTP_CONNECTION=close, X-Hop",
				 "HTTP_X_HOP=1",
				 "HTTP_TE=trailers",
				 "HTTP_UPGRADE=h2c",
				 "HTTP_KEEP_ALIVE=5",
				 "HTTP_COOKIE=a=1, b=2; c=\"x, y\"",
				 "HTTP_X_FORWARDED_FOR=6.6.6.6",
				 "HTTP_X_FORWARDED_HOST=evil",
				 "HTTP_X_FORWARDED_PREFIX=/evil",
				 "HTTP_X_PIPEGATE_CORRELATION_ID=mine",
				 "HTTP_PROXY=evil",
				 "HTTP_ACCEPT_ENCODING=gzip",
				 "HTTP_X_EMPTY=",
				 "HTTP_AUTHORIZATION=Basic eA==",
				 NULL};
	struct request r;

	(void)state;
	read_entries(&r, entries);
	assert_int_equal(r.kind, REQUEST_TUNNEL);
	assert_true(r.has_length);
	assert_int_equal(r.length_bytes, 12);
	expect_field(&r, ":method", "POST");
	expect_field(&r, ":length", "12");
	expect_field(&r, "host", "pub.example:8443");
	expect_field(&r, "content-type", "text/x");
	expect_field(&r, "content-length", NULL);
	expect_field(&r, "connection", NULL);
	expect_field(&r, "x-hop", NULL);
	expect_field(&r, "te", NULL);
	expect_field(&r, "upgrade", NULL);
	expect_field(&r, "keep-alive", NULL);
	expect_field(&r, "cookie", "a=1; b=2; c=\"x, y\"");
	expect_field(&r, "x-forwarded-for", "192.0.2.7");
	expect_field(&r, "x-forwarded-proto", "https");
	expect_field(&r, "x-forwarded-host", "pub.example:8443");
	expect_field(&r, "x-forwarded-prefix", "/abc");
	expect_field(&r, "x-pipegate-correlation-id", r.corr_hex);
	expect_field(&r, "accept-encoding", "gzip");
	expect_field(&r, "x-empty", "");
	expect_field(&r, "authorization", "Basic eA==");
	assert_string_equal(r.public.origin, "https://pub.example:8443");
	request_fini(&r);
}

/* "HTTP_NAME=value" of a field, as web servers write it. The caller frees it. */
static char *as_variable(const char *name, const char *value)
{
	char *text = malloc(strlen(name) + strlen(value) + 7);
	size_t used = (size_t)sprintf(text, "HTTP_");

	for (; *name != '\0'; name++)
		text[used++] = (char)(*name == '-' ? '_' : toupper((unsigned char)*name));
	sprintf(text + used, "=%s", value);
	return text;
}

static void test_one_policy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof inbound_rows / sizeof inbound_rows[0]; i++) {
		const struct inbound_row *row = &inbound_rows[i];
		const char *entries[20] = {"REQUEST_METHOD=GET",
					   "REQUEST_URI=/tunnels/abc/x",
					   "SCRIPT_NAME=/tunnels/abc/x",
					   "PIPEGATE_MOUNT=/tunnels",
					   "HTTPS=on",
					   "REMOTE_ADDR=192.0.2.7"};
		char *made[INBOUND_FIELDS_MAX + 1];
		size_t count = 0;
		struct request r;
		made[count++] = as_variable("Host", row->host);
		for (size_t j = 0; j < INBOUND_FIELDS_MAX && row->fields[j][0] != NULL; j++)
			made[count++] = as_variable(row->fields[j][0], row->fields[j][1]);
		for (size_t j = 0; j < count; j++)
			entries[6 + j] = made[j];
		read_entries(&r, entries);
		assert_int_equal(r.kind, REQUEST_TUNNEL);
		for (size_t j = 0; j < INBOUND_FIELDS_MAX && row->seen[j][0] != NULL; j++)
			expect_field(&r, row->seen[j][0], row->seen[j][1]);
		expect_field(&r, "x-pipegate-correlation-id", r.corr_hex);
		request_fini(&r);
		while (count > 0)
			free(made[--count]);
	}
}

/* What the web server does not know is left out; what is no host is no part of what we write. */
static void test_what_is_not_known(void **state)
{
	static const struct {
		const char *entries[4];
		const char *forwarded, *host, *port, *origin;
	} rows[] = {
		{{"REMOTE_ADDR=2001:db8::7", "HTTP_HOST=h"},
		 "for=\"[2001:db8::7]\";host=h;proto=http",
		 "h",
		 "80",
		 "http://h"},
		{{"REMOTE_ADDR=@unix"}, "for=unknown;proto=http", NULL, "80", ""},
		{{NULL}, "proto=http", NULL, "80", ""},
		{{"HTTP_HOST=a\"b", "HTTPS=on"}, "proto=https", NULL, "443", ""},
		{{"HTTP_HOST=a b"}, "proto=http", NULL, "80", ""},
		{{"HTTP_HOST=evil/path?", "REMOTE_ADDR=192.0.2.1"},
		 "for=192.0.2.1;proto=http",
		 NULL,
		 "80",
		 ""},
		{{"HTTP_HOST=u@evil"}, "proto=http", NULL, "80", ""},
		{{"HTTP_HOST=h:"}, "host=\"h:\";proto=http", "h:", "80", "http://h:"},
		{{"HTTP_HOST=h:99999999"}, "proto=http", NULL, "80", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *entries[8] = {"REQUEST_METHOD=GET", "REQUEST_URI=/abc/x"};
		struct request r;
		memcpy(entries + 2, rows[i].entries, sizeof rows[i].entries);
		read_entries(&r, entries);
		assert_int_equal(r.kind, REQUEST_TUNNEL);
		expect_field(&r, "forwarded", rows[i].forwarded);
		expect_field(&r, "x-forwarded-host", rows[i].host);
		expect_field(&r, "x-forwarded-port", rows[i].port);
		assert_string_equal(r.public.origin, rows[i].origin);
		request_fini(&r);
	}
}

static void test_lengths(void **state)
{
	static const struct {
		const char *entries[3];
		const char *length; /* NULL: refused; "": none is declared */
	} rows[] = {
		{{"CONTENT_LENGTH=5"}, "5"},
		{{"CONTENT_LENGTH=5, 5"}, "5"},
		{{"CONTENT_LENGTH=5,6"}, NULL},
		{{"CONTENT_LENGTH=5,"}, NULL},
		{{"CONTENT_LENGTH=-1"}, NULL},
		{{"CONTENT_LENGTH=5x"}, NULL},
		{{"HTTP_TRANSFER_ENCODING=chunked"}, ""},
		{{"HTTP_TRANSFER_ENCODING=Chunked"}, ""},
		{{"HTTP_TRANSFER_ENCODING=gzip, chunked"}, NULL},
		{{"HTTP_TRANSFER_ENCODING=chunked, chunked"}, NULL},
		{{"HTTP_TRANSFER_ENCODING=gzip", "CONTENT_LENGTH=5"}, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *entries[8] = {"REQUEST_METHOD=POST", "REQUEST_URI=/abc/x"};
		struct request r;
		memcpy(entries + 2, rows[i].entries, sizeof rows[i].entries);
		read_entries(&r, entries);
		if ((r.kind == REQUEST_TUNNEL) != (rows[i].length != NULL))
			fail_msg("%s: kind %d", rows[i].entries[0], r.kind);
		if (rows[i].length != NULL)
			expect_field(&r, ":length", *rows[i].length ? rows[i].length : NULL);
		request_fini(&r);
	}
}

/* User CPU of reading a request of `fields` fields with a Connection of `names` names. */
static double seconds_for(size_t fields, size_t names)
{
	const char **entries = xcalloc(fields + 8, sizeof *entries);
	char *list, *made = xmalloc(fields * 32);
	size_t bytes;
	FILE *stream = open_memstream(&list, &bytes);
	struct timespec before, after;

	assert_non_null(stream);
	fputs("HTTP_CONNECTION=", stream);
	for (size_t i = 0; i < names; i++)
		fprintf(stream, "a,n%zu,", i % 60);
	fclose(stream);
	entries[0] = "REQUEST_METHOD=GET";
	entries[1] = "REQUEST_URI=/abc/x";
	entries[2] = list;
	for (size_t i = 0; i < fields; i++) {
		sprintf(made + i * 32, "HTTP_X_FIELD_%zu=", i);
		entries[3 + i] = made + i * 32;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	for (int i = 0; i < 100; i++) {
		struct request r;
		read_entries(&r, entries);
		assert_int_equal(r.kind, REQUEST_TUNNEL);
		request_fini(&r);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	free(entries);
	free(list);
	free(made);
	return (double)(after.tv_sec - before.tv_sec) +
	       (double)(after.tv_nsec - before.tv_nsec) / 1e9;
}

static void test_cost(void **state)
{
	(void)state;
	double few = seconds_for(250, 1000), many = seconds_for(1000, 4000);
	if (many > 9 * few)
		fail_msg("four times as much took %.1f times as long", many / few);
}

static void test_too_many_names(void **state)
{
	char list[1024];
	const char *entries[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/abc/x", list, NULL};
	size_t used = (size_t)sprintf(list, "HTTP_CONNECTION=");
	struct request r;

	(void)state;
	for (int i = 0; i <= 64; i++)
		used += (size_t)sprintf(list + used, "n%d,", i);
	read_entries(&r, entries);
	assert_int_equal(r.kind, REQUEST_REFUSED);
	assert_int_equal(r.fail, FAIL_BAD_REQUEST);
	request_fini(&r);
}

/* Whether a comma in a Cookie may be where two lines were joined depends on the web server. */
static void test_cookies(void **state)
{
	static const struct {
		const char *software, *cookie;
	} rows[] = {
		{"SERVER_SOFTWARE=Apache/2.4.62 (Debian)", "a=x; b=y"},
		{"SERVER_SOFTWARE=", "a=x; b=y"},
		{"SERVER_SOFTWARE=lighttpd/1.4.69", "a=x, b=y"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *entries[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/abc/x",
					 "HTTP_COOKIE=a=x, b=y", rows[i].software, NULL};
		struct request r;
		read_entries(&r, entries);
		expect_field(&r, "cookie", rows[i].cookie);
		request_fini(&r);
	}
}

static void test_accept(void **state)
{
	(void)state;
	assert_false(local_reply_prefers_html(""));
	assert_false(local_reply_prefers_html("*/*"));
	assert_false(local_reply_prefers_html("application/json"));
	assert_true(local_reply_prefers_html("text/html,application/xhtml+xml,*/*;q=0.8"));
	assert_false(local_reply_prefers_html("text/html;q=0.2, application/json;q=0.9"));
	assert_false(local_reply_prefers_html("text/html;q=0"));
}

/* One greedy id gets three quarters; a second one always finds something. */
static void test_share(void **state)
{
	struct quota *s = quota_new(64);
	size_t first = 0, second = 0;

	(void)state;
	while (quota_reserve(s, "greedy"))
		first++;
	assert_int_equal(first, 48);
	while (quota_reserve(s, "other"))
		second++;
	assert_true(second >= 12 && first + second < 64);
	assert_true(quota_reserve(s, "third"));
	quota_release(s, "third");
	while (first-- > 0)
		quota_release(s, "greedy");
	while (second-- > 0)
		quota_release(s, "other");
	quota_destroy(&s);
	s = quota_new(1);
	assert_true(quota_reserve(s, "a"));
	quota_release(s, "a");
	quota_destroy(&s);
}

/* A password for the public site itself does not reach the app; what the site has not checked
 * does. */
static void test_password_of_the_site(void **state)
{
	static const struct {
		const char *type, *user, *given;
		bool passes;
	} rows[] = {
		{"AUTH_TYPE=Basic", "REMOTE_USER=ada", "HTTP_AUTHORIZATION=Basic eA==", false},
		{"AUTH_TYPE=basic", "REMOTE_USER=ada", "HTTP_AUTHORIZATION=basic eA==", false},
		{"AUTH_TYPE=Digest", "REMOTE_USER=ada", "HTTP_AUTHORIZATION=Digest a=b", false},
		{"AUTH_TYPE=Basic", "REMOTE_USER=ada", "HTTP_AUTHORIZATION=Bearer x", true},
		{"AUTH_TYPE=Basic", "REMOTE_USER=", "HTTP_AUTHORIZATION=Basic eA==", true},
		{"AUTH_TYPE=SSL_CLIENT_VERIFY", "REMOTE_USER=ada",
		 "HTTP_AUTHORIZATION=Basic eA==", true},
		{"AUTH_TYPE=", "REMOTE_USER=", "HTTP_AUTHORIZATION=Basic eA==", true},
		{"X=", "HTTP_REMOTE_USER=ada", "HTTP_AUTHORIZATION=Basic eA==", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *entries[] = {"REQUEST_METHOD=GET",
					 "REQUEST_URI=/abc/",
					 "SCRIPT_NAME=/abc/",
					 rows[i].type,
					 rows[i].user,
					 rows[i].given,
					 NULL};
		struct request r;
		read_entries(&r, entries);
		const char *value = strchr(rows[i].given, '=') + 1;
		expect_field(&r, "authorization", rows[i].passes ? value : NULL);
		expect_field(&r, "remote-user", strcmp(rows[i].type, "X=") == 0 ? "ada" : NULL);
		request_fini(&r);
	}
}

static void test_scheme_of_a_proxy_in_front(void **state)
{
	const char *entries[] = {"REQUEST_METHOD=GET",
				 "REQUEST_URI=/abc/",
				 "SCRIPT_NAME=/abc/",
				 "HTTP_HOST=pub.example",
				 "REQUEST_SCHEME=http",
				 "PIPEGATE_SCHEME=https",
				 NULL};
	struct request r;

	(void)state;
	read_entries(&r, entries);
	expect_field(&r, "x-forwarded-proto", "https");
	expect_field(&r, "x-forwarded-port", "443");
	expect_field(&r, "forwarded", "host=pub.example;proto=https");
	assert_string_equal(r.public.origin, "https://pub.example");
	request_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_wildcard_host),
		cmocka_unit_test(test_redirect_keeps_the_query),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_password_of_the_site),
		cmocka_unit_test(test_scheme_of_a_proxy_in_front),
		cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_one_policy),
		cmocka_unit_test(test_what_is_not_known),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_too_many_names),
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
