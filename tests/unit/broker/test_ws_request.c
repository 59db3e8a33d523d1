/* Handshakes at the listener: which are some, and what the app sees of them (contract sections
 * 3, 4 and 6). */
#include "broker/ws_request.h"
#include "broker/handshake.h"
#include "common/http.h"
#include "tests/unit/inbound_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* after those that it needs */
#include <cmocka.h>

struct made {
	struct listener_request request;
};

static struct listener_text text(const char *at)
{
	return (struct listener_text){at, strlen(at)};
}

static void add(struct made *m, const char *name, const char *value)
{
	assert_true(m->request.header_count < LISTENER_REQUEST_FIELDS_MAX);
	m->request.headers[m->request.header_count++] =
		(struct listener_header){text(name), text(value)};
}

static void start(struct made *m, const char *path, const char *query)
{
	*m = (struct made){
		.request = {.method = "GET", .http_minor = 1, .connection_upgrade = true}};
	m->request.path = text(path);
	m->request.query = text(query ? query : "");
	m->request.has_query = query != NULL;
}

static void expect(const struct ws_request *c, const char *name, const char *value)
{
	struct head_field f;

	if (!head_find(c->head.data, c->head.bytes, name, &f)) {
		if (value != NULL)
			fail_msg("no %s", name);
		return;
	}
	if (value == NULL || strlen(value) != f.value_bytes ||
	    memcmp(value, f.value, f.value_bytes) != 0)
		fail_msg("%s is %.*s", name, (int)f.value_bytes, f.value);
}

static void test_one_policy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof inbound_rows / sizeof inbound_rows[0]; i++) {
		const struct inbound_row *row = &inbound_rows[i];
		struct made m;
		start(&m, "/abc/x", NULL);
		add(&m, "Host", row->host);
		add(&m, "X-Forwarded-For", "6.6.6.6, 192.0.2.7");
		add(&m, "X-Forwarded-Proto", "https");
		add(&m, "X-Forwarded-Prefix", "/tunnels");
		for (size_t j = 0; j < INBOUND_FIELDS_MAX && row->fields[j][0] != NULL; j++) {
			if (strcmp(row->fields[j][0], "X-Forwarded-For") !=
			    0) /* the web server's is last */
				add(&m, row->fields[j][0], row->fields[j][1]);
		}
		struct ws_request *c = ws_request_read(&m.request);
		assert_int_equal(c->fail, FAIL_NONE);
		for (size_t j = 0; j < INBOUND_FIELDS_MAX && row->seen[j][0] != NULL; j++)
			expect(c, row->seen[j][0], row->seen[j][1]);
		expect(c, "x-pipegate-correlation-id", c->corr_hex);
		expect(c, "x_pipegate_correlation_id", NULL);
		ws_request_free(c);
	}
}

static void test_targets(void **state)
{
	static const struct {
		const char *path, *query, *target;
	} rows[] = {
		{"/abc/x", "y", "/x?y"}, {"/abc", NULL, "/"},  {"/abc", "a=%2F&b", "/?a=%2F&b"},
		{"/abc", "", "/?"},	 {"/abc/", NULL, "/"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct made m;
		start(&m, rows[i].path, rows[i].query);
		struct ws_request *c = ws_request_read(&m.request);
		assert_int_equal(c->fail, FAIL_NONE);
		assert_string_equal(c->id, "abc");
		expect(c, ":target", rows[i].target);
		ws_request_free(c);
	}
}

/* "*.SUFFIX": the label before it in Host is the name; nothing else is taken off the path, and
 * there is no prefix. */
static void test_named_by_host(void **state)
{
	static const struct {
		const char *path, *host, *id, *target;
		enum fail fail;
	} rows[] = {
		{"*.t.example.org/abc/x", "my-app.t.example.org", "my-app", "/abc/x", FAIL_NONE},
		{"*.t.example.org/", "MY-App.T.example.org.:8080", "my-app", "/", FAIL_NONE},
		{"*.t.example.org//x", "a.t.example.org", "a", "//x", FAIL_NONE},
		{"*.t.example.org", "a.t.example.org", "a", "/", FAIL_NONE},
		{"*.t.example.org/a/../x", "a.t.example.org", "a", NULL, FAIL_BAD_PATH},
		{"*.t.example.org/x", "a.b.t.example.org", "", NULL, FAIL_NOT_FOUND},
		{"*.t.example.org/x", "t.example.org", "", NULL, FAIL_NOT_FOUND},
		{"*.t.example.org/x", ".t.example.org", "", NULL, FAIL_NOT_FOUND},
		{"*.t.example.org/x", "healthz.t.example.org", "", NULL, FAIL_NOT_FOUND},
		{"*.t.example.org/x", "a.s.example.org", "", NULL, FAIL_NOT_FOUND},
		{"*/x", "a.t.example.org", "", NULL, FAIL_NOT_FOUND},
		{"*./x", "a.", "", NULL, FAIL_NOT_FOUND},
		{"*t.example.org/x", "at.example.org", "", NULL, FAIL_NOT_FOUND},
		{"/*.t.example.org/x", "a.t.example.org", "", NULL, FAIL_NOT_FOUND},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct made m;
		start(&m, rows[i].path, NULL);
		add(&m, "Host", rows[i].host);
		add(&m, "X-Forwarded-Prefix", "/tunnels");
		struct ws_request *c = ws_request_read(&m.request);
		assert_int_equal(c->fail, rows[i].fail);
		if (rows[i].fail == FAIL_NONE) {
			assert_string_equal(c->id, rows[i].id);
			assert_string_equal(c->prefix, "");
			expect(c, ":target", rows[i].target);
		}
		ws_request_free(c);
	}
}

/* Only Apache joins two Cookie lines by a comma. */
static void test_cookies(void **state)
{
	static const struct {
		const char *connection, *first, *second, *seen;
	} rows[] = {
		{NULL, "a=x, b=y", NULL, "a=x, b=y"},
		{NULL, "a=x", "b=\"y, z=1\"", "a=x; b=\"y, z=1\""},
		{"upgrade", "a=x, b=y", NULL, "a=x; b=y"},
		{NULL, "", "b=y", "b=y"},
		{NULL, "", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct made m;
		start(&m, "/abc/x", NULL);
		if (rows[i].connection != NULL)
			add(&m, "X-Pipegate-Connection", rows[i].connection);
		add(&m, "Cookie", rows[i].first);
		if (rows[i].second != NULL)
			add(&m, "Cookie", rows[i].second);
		struct ws_request *c = ws_request_read(&m.request);
		expect(c, "cookie", rows[i].seen);
		ws_request_free(c);
	}
}

static bool has(const struct made *m, const char *name)
{
	for (size_t i = 0; i < m->request.header_count; i++) {
		if (m->request.headers[i].name.bytes == strlen(name) &&
		    memcmp(m->request.headers[i].name.at, name, strlen(name)) == 0)
			return true;
	}
	return false;
}

static void test_handshakes(void **state)
{
	static const struct {
		const char *method;
		int http_minor;
		bool connection_upgrade;
		const char *fields[8]; /* "Name: value" */
		enum handshake result;
	} rows[] = {
		/* clang-format off */
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", NULL}, HANDSHAKE_GOOD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Version: 8"}, HANDSHAKE_OTHER_VERSION},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Version: 013"}, HANDSHAKE_OTHER_VERSION},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Version: "}, HANDSHAKE_OTHER_VERSION},
		{"POST", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Version: 8"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: "}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: short"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAA AAAAAAAAAAA=="}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA==="}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h:80", "Upgrade: WebSocket"}, HANDSHAKE_GOOD},
		{"GET", 1, true, {"Host: [::1]:80", "Upgrade: WebSocket"}, HANDSHAKE_GOOD},
		{"GET", 1, false, {"Host: h"}, HANDSHAKE_NONE},
		{"GET", 1, true, {"Host: h", "Upgrade: h2c"}, HANDSHAKE_NONE},
		{"GET", 0, false, {NULL}, HANDSHAKE_NONE},
		{"POST", 1, true, {"Host: h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"HEAD", 1, true, {"Host: h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 0, true, {"Host: h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", -1, true, {"Host: h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, false, {"Host: h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: ", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: a b", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h/x", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: u@h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h:port", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: [::1", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Host: h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Host: ", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Upgrade: h2c"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: h2c, websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Authorization: Bearer a", "authorization: Bearer b"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Key: a, a"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Sec-WebSocket-Version: 13, 13"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h,h", "Upgrade: websocket"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Content-Length: 0"}, HANDSHAKE_GOOD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Content-Length: 5"}, HANDSHAKE_BAD},
		{"GET", 1, true, {"Host: h", "Upgrade: websocket", "Transfer-Encoding: chunked"}, HANDSHAKE_BAD},
		{"GET", 1, false, {"Host: h", "Sec-WebSocket-Key: a"}, HANDSHAKE_BAD},
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct made m;
		start(&m, "/abc/x", NULL);
		m.request.method = rows[i].method;
		m.request.http_minor = rows[i].http_minor;
		m.request.connection_upgrade = rows[i].connection_upgrade;
		for (size_t j = 0; j < 8 && rows[i].fields[j] != NULL; j++) {
			const char *colon = strchr(rows[i].fields[j], ':');
			add(&m, rows[i].fields[j], colon + 2);
			m.request.headers[j].name.bytes = (size_t)(colon - rows[i].fields[j]);
		}
		/* What a row does not say itself is right. */
		if (rows[i].result != HANDSHAKE_NONE && !has(&m, "Sec-WebSocket-Version"))
			add(&m, "Sec-WebSocket-Version", "13");
		if (rows[i].result != HANDSHAKE_NONE && !has(&m, "Sec-WebSocket-Key"))
			add(&m, "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
		if (handshake_classify(&m.request) != rows[i].result)
			fail_msg("row %zu is %d", i, handshake_classify(&m.request));
	}
}

/* A handshake with `fields` fields, and a Connection of `names` names. */
static double seconds_for(size_t fields, size_t names)
{
	static char lines[LISTENER_REQUEST_FIELDS_MAX][16], list[32 * 1024];
	struct timespec before, after;
	struct made m;
	size_t used = 0;

	for (size_t i = 0; i < names; i++)
		used += (size_t)sprintf(list + used, "a,n%zu,", i % 60);
	start(&m, "/abc/x", NULL);
	add(&m, "Connection", list);
	for (size_t i = 0; i + 2 < fields; i++) {
		sprintf(lines[i], "x-field-%zu", i);
		add(&m, lines[i], "");
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	for (int i = 0; i < 300; i++)
		ws_request_free(ws_request_read(&m.request));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	return (double)(after.tv_sec - before.tv_sec) +
	       (double)(after.tv_nsec - before.tv_nsec) / 1e9;
}

/* Fields times names: four times as much of both must not cost 16 times as much. */
static void test_cost(void **state)
{
	(void)state;
	double few = seconds_for(60, 1000), many = seconds_for(240, 4000);
	if (many > 9 * few)
		fail_msg("four times as much took %.1f times as long", many / few);
}

static void test_too_many_names(void **state)
{
	static char list[1024];
	struct made m;
	size_t used = 0;

	(void)state;
	for (int i = 0; i < HTTP_CONNECTION_NAMES_MAX; i++)
		used += (size_t)sprintf(list + used, "n%d, n%d,", i, i);
	start(&m, "/abc/x", NULL);
	add(&m, "Connection", list);
	struct ws_request *c = ws_request_read(&m.request);
	assert_int_equal(c->fail, FAIL_NONE);
	ws_request_free(c);
	add(&m, "X-Pipegate-Connection", "one-more");
	c = ws_request_read(&m.request);
	assert_int_equal(c->fail, FAIL_BAD_REQUEST);
	ws_request_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_policy),     cmocka_unit_test(test_targets),
		cmocka_unit_test(test_named_by_host),  cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_handshakes),     cmocka_unit_test(test_cost),
		cmocka_unit_test(test_too_many_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
