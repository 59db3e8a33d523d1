/* How lines reach stderr: gathered for each turn, in order, and without waiting for a reader. Each
 * test runs a child process whose stderr is a socket, a pipe or a file of the test. */
#include "common/log_output.h"

#include "common/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

enum { HANGS_AFTER_S = 120, LINES = 50, MANY_LINES = 5000 };

/* The child's side of the test; `talk` is a socket to the test. */
typedef void (*child_fn)(int talk);

struct child {
	pid_t pid;
	int talk;
};

static struct child start(child_fn run, int its_stderr)
{
	struct child c;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fflush(stdout); /* or the child would write it too */
	c.pid = fork();
	if (c.pid == 0) {
		alarm(HANGS_AFTER_S);
		dup2(its_stderr, STDERR_FILENO);
		close(its_stderr);
		close(pair[0]);
		run(pair[1]);
		exit(0);
	}
	close(pair[1]);
	c.talk = pair[0];
	return c;
}

static int end(struct child *c)
{
	int status;

	close(c->talk);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	return status;
}

static void tell(int talk)
{
	assert_int_equal(write(talk, "", 1), 1);
}

static void await(int talk)
{
	char byte;

	(void)!read(talk, &byte, 1);
}

/* A message of the child's socket for each of its writes. */
static int message_socket(int *child_end)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	*child_end = pair[1];
	return pair[0];
}

static const char *next_message(int fd)
{
	static char message[LOG_OUTPUT_BYTES];
	ssize_t bytes = recv(fd, message, sizeof message - 1, 0);

	assert_true(bytes >= 0);
	message[bytes] = '\0';
	return message;
}

static void log_numbers(int from, int count)
{
	for (int i = from; i < from + count; i++)
		log_info("test.line number=%d", i);
}

/* --- one write for each turn --- */

static void run_two_turns(int talk)
{
	(void)talk;
	log_info("test.before");
	log_output_gather();
	log_numbers(0, LINES);
	log_output_flush();
	log_output_flush(); /* nothing to write */
	log_info("test.second");
	log_error("test.error");
	log_info("test.last");
}

static void test_a_turn_is_one_write(void **state)
{
	char expected[64 * LINES] = "";
	int child_end, fd = message_socket(&child_end);
	struct child c = start(run_two_turns, child_end);

	(void)state;
	close(child_end);
	for (int i = 0; i < LINES; i++)
		sprintf(expected + strlen(expected), "info test.line number=%d\n", i);
	assert_string_equal(next_message(fd),
			    "info test.before\n"); /* gathered only after that call */
	assert_string_equal(next_message(fd), expected);
	assert_string_equal(next_message(fd), "info test.second\nerror test.error\n");
	assert_string_equal(next_message(fd), "info test.last\n"); /* at exit */
	assert_string_equal(next_message(fd), "");
	assert_int_equal(end(&c), 0);
	close(fd);
}

static void run_error(int talk)
{
	log_output_gather();
	log_info("test.first");
	log_warn("test.warning");
	await(talk); /* neither flushes nor ends before the test has seen both */
}

static void test_a_warning_is_written_at_once(void **state)
{
	int child_end, fd = message_socket(&child_end);
	struct child c = start(run_error, child_end);

	(void)state;
	close(child_end);
	assert_string_equal(next_message(fd), "info test.first\nwarn test.warning\n");
	assert_int_equal(end(&c), 0);
	close(fd);
}

static void run_verbose(int talk)
{
	log_output_gather();
	log_verbose = true;
	log_debug("test.debug");
	await(talk);
}

static void test_with_verbose_every_line_is_written_at_once(void **state)
{
	int child_end, fd = message_socket(&child_end);
	struct child c = start(run_verbose, child_end);

	(void)state;
	close(child_end);
	assert_string_equal(next_message(fd), "debug test.debug\n");
	assert_int_equal(end(&c), 0);
	close(fd);
}

static void *log_from_thread(void *unused)
{
	log_info("test.thread");
	return unused;
}

static void run_thread(int talk)
{
	pthread_t thread;

	log_output_gather();
	log_info("test.loop");
	assert_int_equal(pthread_create(&thread, NULL, log_from_thread, NULL), 0);
	pthread_join(thread, NULL);
	await(talk);
}

static void test_another_thread_writes_at_once_and_in_order(void **state)
{
	int child_end, fd = message_socket(&child_end);
	struct child c = start(run_thread, child_end);

	(void)state;
	close(child_end);
	assert_string_equal(next_message(fd), "info test.loop\ninfo test.thread\n");
	assert_int_equal(end(&c), 0);
	close(fd);
}

/* --- the end of the process --- */

static void run_bug(int talk)
{
	(void)talk;
	log_output_gather();
	log_info("test.before_bug");
	CHECK(LINES == 0);
}

static void test_a_failed_check_loses_no_line(void **state)
{
	char text[1024];
	FILE *file = tmpfile();
	struct child c = start(run_bug, fileno(file));
	int status = end(&c);

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	rewind(file);
	assert_non_null(fgets(text, sizeof text, file));
	assert_string_equal(text, "info test.before_bug\n");
	assert_non_null(fgets(text, sizeof text, file));
	assert_memory_equal(text, "bug: ", 5);
	fclose(file);
}

static void run_finish(int talk)
{
	(void)talk;
	log_output_gather();
	log_info("test.gathered");
	log_output_finish();
	log_info("test.after");
	_exit(0);
}

static void test_finish_before_exit_at_once(void **state)
{
	int child_end, fd = message_socket(&child_end);
	struct child c = start(run_finish, child_end);

	(void)state;
	close(child_end);
	assert_string_equal(next_message(fd), "info test.gathered\n");
	assert_string_equal(next_message(fd), "info test.after\n");
	assert_int_equal(end(&c), 0);
	close(fd);
}

/* --- a reader that does not read --- */

static void run_flood(int talk)
{
	log_output_gather();
	for (int i = 0; i < MANY_LINES; i++) {
		log_numbers(i, 1);
		log_output_flush();
	}
	tell(talk);  /* has not waited for the reader */
	await(talk); /* the test reads now */
	while (!log_output_flush())
		usleep(1000);
	log_info("test.last"); /* after a line with the number of missing ones */
	log_output_flush();
}

/* Each line is there, in order, or counted. */
static void check_flood(FILE *lines)
{
	char line[256];
	int number, expected = 0, missing = 0;

	while (fgets(line, sizeof line, lines) != NULL) {
		assert_non_null(strchr(line, '\n'));
		if (sscanf(line, "info test.line number=%d", &number) == 1)
			assert_int_equal(number, expected++);
		else if (strcmp(line, "info test.last\n") == 0)
			assert_true(missing > 0);
		else
			assert_int_equal(sscanf(line, "warn log.dropped lines=%d", &missing), 1);
	}
	assert_int_equal(expected + missing, MANY_LINES);
}

static void flood(int read_end, int write_end)
{
	int flags = fcntl(write_end, F_GETFL);
	struct child c = start(run_flood, write_end);

	await(c.talk);
	assert_int_equal(fcntl(write_end, F_GETFL), flags); /* other processes write there too */
	close(write_end);
	tell(c.talk);
	FILE *lines = fdopen(read_end, "r");
	check_flood(lines);
	assert_int_equal(end(&c), 0);
	fclose(lines);
}

static void test_a_full_pipe_stops_nothing(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	flood(fds[0], fds[1]);
}

/* As systemd's journal has it. */
static void test_a_full_socket_stops_nothing(void **state)
{
	int fds[2], bytes = 16384;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
	flood(fds[0], fds[1]);
}

static void run_closed(int talk)
{
	(void)talk;
	signal(SIGPIPE, SIG_IGN);
	log_output_gather();
	for (int i = 0; i < MANY_LINES; i++)
		log_numbers(i, 1);
	assert_true(log_output_flush()); /* they are lost, and nothing is kept */
}

static void test_a_closed_pipe_stops_nothing(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	struct child c = start(run_closed, fds[1]);
	close(fds[1]);
	assert_int_equal(end(&c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_turn_is_one_write),
		cmocka_unit_test(test_a_warning_is_written_at_once),
		cmocka_unit_test(test_with_verbose_every_line_is_written_at_once),
		cmocka_unit_test(test_another_thread_writes_at_once_and_in_order),
		cmocka_unit_test(test_a_failed_check_loses_no_line),
		cmocka_unit_test(test_finish_before_exit_at_once),
		cmocka_unit_test(test_a_full_pipe_stops_nothing),
		cmocka_unit_test(test_a_full_socket_stops_nothing),
		cmocka_unit_test(test_a_closed_pipe_stops_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
