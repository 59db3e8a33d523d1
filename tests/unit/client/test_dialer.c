/* Attempts to connect, with a stand-in for libcurl: what it is told, and what is made of its
 * results. Its URL parser is the real one. */
#define CURL_DISABLE_TYPECHECK
#include "client/dialer.h"

#include <curl/curl.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
/* after those that it needs */
#include <cmocka.h>

/* --- libcurl --- */

/* One transfer: the options that were set, and the results that the test sets. */
static struct {
	bool exists;
	const char *url, *proxy, *unix_path, *ca_file, *protocols;
	long connect_timeout_ms, connect_only, tunnel;
	long verify_peer, verify_host;
	char *error;
	void *private;
	curl_debug_callback on_debug;
	void *debug_data;

	CURLcode result;
	const char *ip;
	long port, proxy_status, os_errno;
	int fd;
} easy;

static struct {
	curl_multi_timer_callback on_timeout;
	void *timer_data;
	bool has_message;
	CURLMsg message;
} multi;

CURL *curl_easy_init(void)
{
	memset(&easy, 0, sizeof easy);
	easy.exists = true;
	easy.fd = -1;
	easy.verify_peer = easy.verify_host = -1;
	return (CURL *)&easy;
}

void curl_easy_cleanup(CURL *handle)
{
	assert_ptr_equal(handle, &easy);
	easy.exists = false;
}

static void set_text(CURLoption option, char *text)
{
	if (option == CURLOPT_URL)
		easy.url = text;
	else if (option == CURLOPT_PROXY)
		easy.proxy = text;
	else if (option == CURLOPT_UNIX_SOCKET_PATH)
		easy.unix_path = text;
	else if (option == CURLOPT_CAINFO)
		easy.ca_file = text;
	else if (option == CURLOPT_PROTOCOLS_STR)
		easy.protocols = text;
	else if (option == CURLOPT_ERRORBUFFER)
		easy.error = text;
	else if (option == CURLOPT_PRIVATE)
		easy.private = text;
	else if (option == CURLOPT_DEBUGDATA)
		easy.debug_data = text;
}

static void set_number(CURLoption option, long number)
{
	if (option == CURLOPT_CONNECTTIMEOUT_MS)
		easy.connect_timeout_ms = number;
	else if (option == CURLOPT_CONNECT_ONLY)
		easy.connect_only = number;
	else if (option == CURLOPT_HTTPPROXYTUNNEL)
		easy.tunnel = number;
	else if (option == CURLOPT_SSL_VERIFYPEER)
		easy.verify_peer = number;
	else if (option == CURLOPT_SSL_VERIFYHOST)
		easy.verify_host = number;
}

CURLcode(curl_easy_setopt)(CURL *handle, CURLoption option, ...)
{
	va_list list;

	(void)handle;
	va_start(list, option);
	if (option == CURLOPT_DEBUGFUNCTION)
		easy.on_debug = va_arg(list, curl_debug_callback);
	else if (option < CURLOPTTYPE_OBJECTPOINT)
		set_number(option, va_arg(list, long));
	else
		set_text(option, va_arg(list, char *));
	va_end(list);
	return CURLE_OK;
}

CURLcode(curl_easy_getinfo)(CURL *handle, CURLINFO info, ...)
{
	va_list list;

	(void)handle;
	va_start(list, info);
	if (info == CURLINFO_PRIMARY_IP)
		*va_arg(list, const char **) = easy.ip;
	else if (info == CURLINFO_PRIVATE)
		*va_arg(list, void **) = easy.private;
	else if (info == CURLINFO_ACTIVESOCKET)
		*va_arg(list, curl_socket_t *) = easy.fd;
	else
		*va_arg(list, long *) = info == CURLINFO_PRIMARY_PORT	    ? easy.port
					: info == CURLINFO_HTTP_CONNECTCODE ? easy.proxy_status
									    : easy.os_errno;
	va_end(list);
	return CURLE_OK;
}

CURLM *curl_multi_init(void)
{
	memset(&multi, 0, sizeof multi);
	return (CURLM *)&multi;
}

CURLMcode curl_multi_cleanup(CURLM *handle)
{
	(void)handle;
	assert_false(easy.exists);
	return CURLM_OK;
}

CURLMcode(curl_multi_setopt)(CURLM *handle, CURLMoption option, ...)
{
	va_list list;

	(void)handle;
	va_start(list, option);
	if (option == CURLMOPT_TIMERFUNCTION)
		multi.on_timeout = va_arg(list, curl_multi_timer_callback);
	else if (option == CURLMOPT_TIMERDATA)
		multi.timer_data = va_arg(list, void *);
	va_end(list);
	return CURLM_OK;
}

CURLMcode curl_multi_add_handle(CURLM *handle, CURL *e)
{
	(void)e;
	multi.on_timeout(handle, 0, multi.timer_data);
	return CURLM_OK;
}

CURLMcode curl_multi_remove_handle(CURLM *handle, CURL *e)
{
	(void)handle;
	(void)e;
	return CURLM_OK;
}

CURLMcode curl_multi_socket_action(CURLM *handle, curl_socket_t fd, int what, int *running)
{
	(void)handle;
	(void)fd;
	(void)what;
	*running = 0;
	multi.has_message = true;
	return CURLM_OK;
}

CURLMsg *curl_multi_info_read(CURLM *handle, int *left)
{
	(void)handle;
	*left = 0;
	if (!multi.has_message)
		return NULL;
	multi.has_message = false;
	multi.message.msg = CURLMSG_DONE;
	multi.message.easy_handle = (CURL *)&easy;
	multi.message.data.result = easy.result;
	return &multi.message;
}

/* --- an attempt --- */

static uv_loop_t loop;
static struct dialer *dialer;
static struct dialer_attempt *attempt;
static int over_count, over_fd;
static bool ends_within;

static void on_over(void *ctx, int fd)
{
	assert_ptr_equal(ctx, &over_fd);
	over_count++;
	over_fd = fd;
	if (ends_within)
		dialer_end(&attempt);
}

static int set_up(void **state)
{
	(void)state;
	over_count = 0;
	over_fd = -1;
	ends_within = false;
	return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
	(void)state;
	dialer_end(&attempt);
	dialer_destroy(&dialer);
	uv_run(&loop, UV_RUN_NOWAIT);
	return uv_loop_close(&loop);
}

static void start_to_target(const struct target *target)
{
	dialer = dialer_new_to_target(&loop, target);
	attempt = dialer_start(dialer, on_over, &over_fd);
}

static struct tunnel_server server = {.url = {.authority = "server.example:8443"}, .tls = true};

static void start_to_server(void)
{
	dialer = dialer_new_to_server(&loop, &server);
	attempt = dialer_start(dialer, on_over, &over_fd);
}

/* The attempt ends as `easy` says. */
static void run(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(over_count, 1);
}

/* --- what libcurl is told --- */

static void test_an_app(void **state)
{
	(void)state;
	start_to_target(&(struct target){.origin = "http://app:3000", .authority = "app:3000"});
	assert_false(dialer_is_to_server(dialer));
	assert_string_equal(easy.url, "http://app:3000/");
	assert_string_equal(easy.proxy, ""); /* none, whatever the environment says */
	assert_string_equal(easy.protocols, "http,https");
	assert_int_equal(easy.connect_only, 1);
	assert_int_equal(easy.connect_timeout_ms, 10000);
	assert_true(easy.verify_peer != 0 && easy.verify_host != 0);
	assert_null(easy.ca_file);
	assert_null(easy.unix_path);
}

static void test_an_app_with_tls(void **state)
{
	(void)state;
	start_to_target(&(struct target){.origin = "https://app",
					 .authority = "app",
					 .ca_file = "/ca",
					 .unix_path = "/run/app.sock",
					 .insecure = true});
	assert_string_equal(easy.url, "https://app/");
	assert_string_equal(easy.ca_file, "/ca");
	assert_string_equal(easy.unix_path, "/run/app.sock");
	assert_int_equal(easy.verify_peer, 0);
	assert_int_equal(easy.verify_host, 0);
}

static void test_a_server(void **state)
{
	(void)state;
	start_to_server();
	assert_true(dialer_is_to_server(dialer));
	assert_string_equal(easy.url, "https://server.example:8443/");
	assert_null(easy.proxy); /* what the environment says */
	assert_int_equal(easy.tunnel, 1);
	assert_true(easy.connect_timeout_ms < 20000); /* of an attempt in all */
	assert_true(easy.verify_peer != 0 && easy.verify_host != 0);
}

static void test_a_server_on_this_machine(void **state)
{
	(void)state;
	server.is_loopback = true;
	start_to_server();
	server.is_loopback = false;
	assert_string_equal(easy.proxy, "");
}

/* --- what became of it --- */

static void test_a_descriptor_without_tls(void **state)
{
	struct stat ours, theirs;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	start_to_target(&(struct target){.origin = "http://app", .authority = "app"});
	easy.fd = ends[0];
	easy.ip = "192.0.2.1";
	easy.port = 80;
	run();
	/* libcurl closes its own with its handle */
	assert_true(over_fd >= 0 && over_fd != ends[0]);
	assert_int_equal(fstat(ends[0], &theirs) | fstat(over_fd, &ours), 0);
	assert_true(ours.st_ino == theirs.st_ino);
	assert_false(easy.exists);
	assert_false(dialer_has_tls(attempt));
	assert_string_equal(dialer_address(attempt), "192.0.2.1:80");
	close(over_fd);
	close(ends[0]);
	close(ends[1]);
}

static void test_a_descriptor_with_tls(void **state)
{
	(void)state;
	start_to_server();
	easy.fd = 0;
	easy.ip = "2001:db8::1";
	easy.port = 443;
	easy.proxy_status = 200;
	run();
	assert_int_equal(over_fd, 0); /* libcurl's: the bytes go through it */
	assert_true(easy.exists && dialer_has_tls(attempt));
	assert_string_equal(dialer_address(attempt), "[2001:db8::1]:443");
	assert_true(dialer_is_proxied(attempt));
}

static const struct {
	CURLcode result;
	const char *error;
	long os_errno;
	const char *why;
} failures[] = {
	{CURLE_COULDNT_CONNECT, "Failed to connect to h", ECONNREFUSED,
	 "Failed to connect to h (Connection refused)"},
	{CURLE_COULDNT_CONNECT, "Failed to connect to h", 0, "Failed to connect to h"},
	{CURLE_SSL_CONNECT_ERROR, "", ECONNRESET, "SSL connect error (Connection reset by peer)"},
	/* an errno of the past */
	{CURLE_OPERATION_TIMEDOUT, "Connection timed out", EINPROGRESS, "Connection timed out"},
	{CURLE_COULDNT_RESOLVE_HOST, "Could not resolve host: h", 0, "Could not resolve host: h"},
	{CURLE_RECV_ERROR, "a \"word\"\r\nand a line", 0, NULL},
	{CURLE_OK, "", 0, "no descriptor is left"},
};

static void test_failures(void **state)
{
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
		start_to_server();
		easy.result = failures[i].result;
		strcpy(easy.error, failures[i].error);
		easy.os_errno = failures[i].os_errno;
		run();
		assert_int_equal(over_fd, -1);
		if (failures[i].why != NULL)
			assert_string_equal(dialer_why(attempt), failures[i].why);
		assert_null(strpbrk(dialer_why(attempt), "\r\n"));
		assert_string_equal(dialer_address(attempt), "-");
		assert_int_equal(tear_down(state) | set_up(state), 0);
	}
}

static void say(const char *line)
{
	easy.on_debug((CURL *)&easy, CURLINFO_TEXT, (char *)line, strlen(line), easy.debug_data);
}

/* The proxy is named, and its user and password are not. */
static void test_a_proxy(void **state)
{
	static const char *const rows[][2] = {
		{"Uses proxy env variable https_proxy == 'http://user:secret@proxy.example:3128'\n",
		 "through the proxy proxy.example:3128 (https_proxy): refused"},
		{"Uses proxy env variable ALL_PROXY == 'proxy.example'\n",
		 "through the proxy proxy.example:1080 (ALL_PROXY): refused"},
		{"Uses proxy env variable no_proxy == 'a.example'\n", "refused"},
		{"Uses proxy env variable NO_PROXY == 'a.example'\n", "refused"},
		{"Uses proxy env variable http_proxy == '", "refused"},
		{"Uses proxy env variable ", "refused"},
		{"Trying 192.0.2.1:80...\n", "refused"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		start_to_server();
		say(rows[i][0]);
		easy.result = CURLE_RECV_ERROR;
		strcpy(easy.error, "refused");
		run();
		assert_string_equal(dialer_why(attempt), rows[i][1]);
		assert_int_equal(tear_down(state) | set_up(state), 0);
	}
}

static void test_an_end_within_the_event(void **state)
{
	(void)state;
	ends_within = true;
	start_to_server();
	easy.result = CURLE_COULDNT_CONNECT;
	run();
	assert_null(attempt);
	assert_false(easy.exists);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_app),
		TEST(test_an_app_with_tls),
		TEST(test_a_server),
		TEST(test_a_server_on_this_machine),
		TEST(test_a_descriptor_without_tls),
		TEST(test_a_descriptor_with_tls),
		TEST(test_failures),
		TEST(test_a_proxy),
		TEST(test_an_end_within_the_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
