/* Files of --token-file: whole, bounded, and never waited for without an end. */
#include "client/token_file.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

enum { PATIENCE_MS = 60000 };

static char directory[] = "/tmp/pipegate-token-file-XXXXXX";
static char path[sizeof directory + 16];

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/token", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(directory);
}

static void write_file(const void *data, size_t bytes, mode_t mode)
{
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void expect_failure(const char *from, int wait_ms, const char *why)
{
	struct token_file f = {0};

	assert_false(token_file_read(&f, from, wait_ms));
	assert_null(f.text);
	assert_string_equal(f.why, why);
	token_file_fini(&f);
}

static void test_files(void **state)
{
	static char large[TOKEN_FILE_MAX_BYTES + 1];
	struct token_file f = {0};

	(void)state;
	memset(large, 'x', sizeof large);
	write_file(large, TOKEN_FILE_MAX_BYTES, 0600);
	assert_true(token_file_read(&f, path, PATIENCE_MS));
	assert_int_equal(strlen(f.text), TOKEN_FILE_MAX_BYTES);
	token_file_fini(&f);
	write_file(large, TOKEN_FILE_MAX_BYTES + 1, 0600);
	expect_failure(path, PATIENCE_MS, "is too long");

	write_file("", 0, 0600);
	assert_true(token_file_read(&f, path, PATIENCE_MS));
	assert_string_equal(f.text, "");
	token_file_fini(&f);

	write_file("abc\0def", 7, 0600);
	expect_failure(path, PATIENCE_MS, "contains a NUL byte");
	expect_failure("/nonexistent", PATIENCE_MS, "No such file or directory");
	expect_failure(directory, PATIENCE_MS, "Is a directory");
	expect_failure("/dev/zero", PATIENCE_MS, "is too long");
}

static void test_who_can_read_it(void **state)
{
	static const struct {
		mode_t mode;
		bool is_public;
	} rows[] = {{0600, false}, {0640, false}, {0644, true}, {0604, true}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct token_file f = {0};
		write_file("abc", 3, rows[i].mode);
		assert_true(token_file_read(&f, path, PATIENCE_MS));
		assert_int_equal(f.is_public, rows[i].is_public);
		token_file_fini(&f);
	}
}

static void test_fifo_without_writer(void **state)
{
	(void)state;
	(void)unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_failure(path, 0, "did not end in time");
}

/* The writer of a FIFO sends one part, and the other only when the first has been read. */
static void write_parts(void)
{
	char part[PIPE_BUF];
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	memset(part, 'x', sizeof part);
	if (fd < 0 || fcntl(fd, F_SETPIPE_SZ, PIPE_BUF) != PIPE_BUF)
		_exit(1);
	for (int i = 0; i < 3; i++) {
		if (write(fd, part, sizeof part) != sizeof part)
			_exit(2);
	}
	_exit(0);
}

static void test_fifo_in_parts(void **state)
{
	struct token_file f = {0};
	int status;

	(void)state;
	(void)unlink(path);
	assert_int_equal(mkfifo(path, 0644), 0);
	pid_t writer = fork();
	if (writer == 0)
		write_parts();
	if (!token_file_read(&f, path, PATIENCE_MS))
		fail_msg("%s", f.why);
	assert_int_equal(strlen(f.text), 3 * PIPE_BUF);
	assert_false(f.is_public);
	token_file_fini(&f);
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_int_equal(status, 0);
}

/* `--token-file <(command)`, whose command has ended already, or goes on. */
static void test_pipe(void **state)
{
	struct token_file f = {0};
	char from[32];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	snprintf(from, sizeof from, "/proc/self/fd/%d", ends[0]);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	expect_failure(from, 0, "did not end in time");

	assert_int_equal(write(ends[1], "def", 3), 3);
	close(ends[1]);
	assert_true(token_file_read(&f, from, PATIENCE_MS));
	assert_string_equal(f.text, "def");
	token_file_fini(&f);
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_who_can_read_it),
		cmocka_unit_test(test_fifo_without_writer),
		cmocka_unit_test(test_fifo_in_parts),
		cmocka_unit_test(test_pipe),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
