/* Files of --ca-file: which ones libcurl could not use. */
#include "client/ca_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

#define CERTIFICATE                                                                                \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIIBbzCCARWgAwIBAgIUEBLgv7uEC1ltchnUXlpOT53abxIwCgYIKoZIzj0EAwIw\n"                       \
	"DDEKMAgGA1UEAwwBdDAgFw0yNjExMjYwMzA4NDlaGA8yMTI2MTEwMjAzMDg0OVow\n"                       \
	"DDEKMAgGA1UEAwwBdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJ8Tl/k3HVfv\n"                       \
	"lDMMXUU/8qO29lY31DZ+RFEE6WwKMJ9Pa0vMRQX1Y491BhcK5zZtHaPFnDkNIvN9\n"                       \
	"wkmG1d4kEcejUzBRMB0GA1UdDgQWBBRh23XD3bQiYHD5IdClUQuoScymkDAfBgNV\n"                       \
	"HSMEGDAWgBRh23XD3bQiYHD5IdClUQuoScymkDAPBgNVHRMBAf8EBTADAQH/MAoG\n"                       \
	"CCqGSM49BAMCA0gAMEUCIFoqW5RPzl9jsi43Hn6faAlNd0epwtdRIzNjEnuGan1W\n"                       \
	"AiEAtU2mR2z9rHgvw/M+wSim8ceqxSEYqhK/2jhBDdHRLE8=\n"                                       \
	"-----END CERTIFICATE-----\n"
#define BROKEN "-----BEGIN CERTIFICATE-----\nMIIBbzCCARWg\n-----END CERTIFICATE-----\n"
#define OTHER  "-----BEGIN OTHER-----\nQUJD\n-----END OTHER-----\n"

static char directory[] = "/tmp/pipegate-ca-file-XXXXXX";
static char path[sizeof directory + 16];

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/ca", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(directory);
}

static void test_contents(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{CERTIFICATE, true},
		{"a comment\n" CERTIFICATE "another\n" CERTIFICATE, true},
		{OTHER CERTIFICATE, true},
		{"", false},
		{"no certificate\n", false},
		{OTHER, false},
		{BROKEN, false},
		{CERTIFICATE BROKEN, false},
		{"\x30\x82\x01\x6f", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		FILE *f = fopen(path, "we");
		assert_non_null(f);
		assert_true(fputs(rows[i].text, f) >= 0);
		assert_int_equal(fclose(f), 0);
		const char *fault = ca_file_fault(path);
		if ((fault == NULL) != rows[i].good)
			fail_msg("row %zu: %s", i, fault != NULL ? fault : "was accepted");
		if (fault != NULL)
			assert_non_null(strstr(fault, "certificate"));
	}
}

static void test_what_is_no_file(void **state)
{
	(void)state;
	assert_string_equal(ca_file_fault("/nonexistent"), "No such file or directory");
	assert_string_equal(ca_file_fault(directory), "is not a regular file");
	(void)unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_string_equal(ca_file_fault(path), "is not a regular file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
