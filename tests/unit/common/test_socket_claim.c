/* Taking the name of a unix socket: one winner, no leftovers, and nothing that another user can
 * do stops it for ever. */
#include "common/socket_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/pipegate-claim-XXXXXX";
static char path[64], lock_path[80], other[80];
static char why[160];

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/x.sock", directory);
	snprintf(lock_path, sizeof lock_path, "%s.lock", path);
	snprintf(other, sizeof other, "%s/other", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(directory); /* fails if anything was left behind */
}

static void one_of_many_wins(void **state)
{
	enum { CHILDREN = 24, WON = 1, LOST = 2 };
	int go[2], done[2], won = 0;
	char byte;

	(void)state;
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(done), 0);
	for (int i = 0; i < CHILDREN; i++) {
		if (fork() != 0)
			continue;
		close(go[1]);
		int fd = socket_claim_listen(path, NULL, 16, why, sizeof why);
		byte = fd >= 0 ? WON : LOST;
		if (write(done[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 0)
			_exit(1);
		_exit(0);
	}
	for (int i = 0; i < CHILDREN; i++) {
		assert_int_equal(read(done[0], &byte, 1), 1);
		won += byte == WON;
	}
	close(go[1]);
	while (wait(NULL) > 0)
		;
	close(go[0]);
	close(done[0]);
	close(done[1]);
	assert_int_equal(won, 1);

	/* Its socket is dead now, and replaced. */
	int fd = socket_claim_listen(path, NULL, 16, why, sizeof why);
	assert_true(fd >= 0);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(access(lock_path, F_OK), -1);
	close(fd);
	unlink(path);
}

static void a_locked_directory_does_not_matter(void **state)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(flock(fd, LOCK_EX), 0);
	int got = socket_claim_listen(path, NULL, 16, why, sizeof why);
	assert_true(got >= 0);
	close(got);
	close(fd);
	unlink(path);
}

static void a_lock_that_is_kept_is_named(void **state)
{
	struct socket_claim c;
	int fd = open(lock_path, O_RDWR | O_CREAT, 0600);

	(void)state;
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(socket_claim_path(&c, path, why, sizeof why), -1);
	assert_non_null(strstr(why, lock_path));
	assert_non_null(strstr(why, "another process"));
	close(fd);
	/* The file that a dead process left is used. */
	assert_int_equal(access(lock_path, F_OK), 0);
	assert_int_equal(socket_claim_path(&c, path, why, sizeof why), 0);
	socket_claim_release(&c);
	socket_claim_release(&c);
	assert_int_equal(access(lock_path, F_OK), -1);
}

static void what_is_no_lock_file_is_refused(void **state)
{
	struct socket_claim c;
	struct stat st;

	(void)state;
	assert_int_equal(symlink(other, lock_path), 0);
	assert_int_equal(socket_claim_path(&c, path, why, sizeof why), -1);
	assert_non_null(strstr(why, lock_path));
	assert_int_equal(lstat(other, &st), -1);
	unlink(lock_path);
	assert_int_equal(mkfifo(lock_path, 0600), 0);
	assert_int_equal(socket_claim_path(&c, path, why, sizeof why), -1);
	assert_non_null(strstr(why, lock_path));
	unlink(lock_path);
	assert_int_equal(mkdir(lock_path, 0700), 0);
	assert_int_equal(socket_claim_path(&c, path, why, sizeof why), -1);
	rmdir(lock_path);
}

static void no_directory(void **state)
{
	struct socket_claim c;

	(void)state;
	assert_int_equal(socket_claim_path(&c, "/nonexistent/x.sock", why, sizeof why), -1);
	assert_non_null(strstr(why, "/nonexistent/x.sock.lock: No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_many_wins),
		cmocka_unit_test(a_locked_directory_does_not_matter),
		cmocka_unit_test(a_lock_that_is_kept_is_named),
		cmocka_unit_test(what_is_no_lock_file_is_refused),
		cmocka_unit_test(no_directory),
	};

	return cmocka_run_group_tests_name("common/socket_claim", tests, set_up, tear_down);
}
