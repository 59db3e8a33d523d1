/* Random identifiers, and the grammar of connection ids. */
#include "common/id.h"

#include "common/gate_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after those that it needs */
#include <cmocka.h>

static void test_grammar(void **state)
{
	char id[CONNECTION_ID_MAX_BYTES + 1];

	(void)state;
	memset(id, 'a', sizeof id);
	assert_true(id_connection_valid("my-App_1", 8));
	assert_true(id_connection_valid(id, CONNECTION_ID_MAX_BYTES));
	assert_false(id_connection_valid(id, CONNECTION_ID_MAX_BYTES + 1));
	assert_false(id_connection_valid("", 0));
	assert_false(id_connection_valid("healthz", 7));
	assert_true(id_connection_valid("healthz1", 8));
	for (int c = 0; c < 256; c++) {
		char text[] = {'a', (char)c, 'b'};
		bool expected = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw"
						 "xyz0123456789_-",
						 c) != NULL;
		assert_int_equal(id_connection_valid(text, 3), expected);
	}
}

static void test_from_host(void **state)
{
	static const struct {
		const char *host, *suffix, *id; /* NULL: none */
	} rows[] = {
		{"my-app.t.example.org", ".t.example.org", "my-app"},
		{"My-App.T.Example.ORG:8080", ".t.example.org", "my-app"},
		{"my-app.t.example.org.", ".t.example.org", "my-app"},
		{"t.example.org", ".t.example.org", NULL},
		{".t.example.org", ".t.example.org", NULL},
		{"a.b.t.example.org", ".t.example.org", NULL},
		{"my-appXt.example.org", ".t.example.org", NULL},
		{"my-app.t.example.org", "t.example.org", NULL},
		{"my-app.", ".", NULL},
		{"HealthZ.t.example.org", ".t.example.org", NULL},
		{"", ".t.example.org", NULL},
	};
	char id[CONNECTION_ID_MAX_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool found = id_from_host(id, rows[i].host, strlen(rows[i].host), rows[i].suffix,
					  strlen(rows[i].suffix));
		assert_int_equal(found, rows[i].id != NULL);
		if (found)
			assert_string_equal(id, rows[i].id);
	}
}

/* Values differ, also where a new stock of random bytes begins. */
static void test_random(void **state)
{
	enum { IDS = 100 };
	uint8_t ids[IDS][CORR_BYTES];
	char hex[2 * CORR_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < IDS; i++) {
		id_random(ids[i], sizeof ids[i]);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(ids[i], ids[j], CORR_BYTES);
		assert_true(id_random_u64() != 0);
	}
	id_to_hex((const uint8_t *)"\x00\x01\xab\xff", 4, hex);
	assert_string_equal(hex, "0001abff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_from_host),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
