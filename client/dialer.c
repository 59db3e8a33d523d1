/* client/dialer.c - see dialer.h.
 *
 * While it connects, libcurl tells us which sockets to watch. Each has a watched_socket, which ends
 * before the connection's own poll handle starts: libuv allows one handle per descriptor. */
#include "client/dialer.h"

#include "common/cli.h"
#include "common/log.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONNECT_TIMEOUT_MS = 10000,
	/* Below LIFECYCLE_ATTEMPT_MS, so that libcurl can report what it was waiting for. */
	SERVER_TIMEOUT_MS = 18000,
	CACHE_CONNECTIONS = 1 << 20, /* no limit: libcurl must close none of ours */
	WHY_BYTES = 600,
	PROXY_BYTES = 300, /* of a host name, a port and the name of a variable */
	ADDRESS_BYTES = 80,
};

struct dialer {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	char *url; /* the URL that libcurl connects to */
	bool tls;
	bool to_server;
	bool direct; /* ignore proxies named by the environment */
	const char *unix_path, *ca_file;
	bool insecure;
};

struct dialer_attempt {
	struct dialer *dialer;
	void (*over)(void *ctx, int fd);
	void *ctx;
	CURL *easy; /* while it connects; with TLS until the end */
	bool proxied;
	char proxy[PROXY_BYTES]; /* "HOST:PORT (VARIABLE)"; "": none, or unknown */
	char address[ADDRESS_BYTES];
	char error[CURL_ERROR_SIZE];
	char why[WHY_BYTES];
};

/* --- bytes of TLS --- */

static int os_error(const struct dialer_attempt *a)
{
	long number = 0;

	(void)curl_easy_getinfo(a->easy, CURLINFO_OS_ERRNO, &number);
	return (int)number;
}

bool dialer_has_tls(const struct dialer_attempt *a)
{
	return a->easy != NULL;
}

enum dialer_result dialer_receive(struct dialer_attempt *a, void *out, size_t bytes, size_t *got)
{
	CURLcode result = curl_easy_recv(a->easy, out, bytes, got);

	return result == CURLE_OK ? DIALER_OK : result == CURLE_AGAIN ? DIALER_WAIT : DIALER_BROKEN;
}

enum dialer_result dialer_send(struct dialer_attempt *a, const void *data, size_t bytes,
			       size_t *sent)
{
	CURLcode result = curl_easy_send(a->easy, data, bytes, sent);

	return result == CURLE_OK ? DIALER_OK : result == CURLE_AGAIN ? DIALER_WAIT : DIALER_BROKEN;
}

int dialer_error(const struct dialer_attempt *a)
{
	return os_error(a);
}

/* --- what became of an attempt --- */

static void read_address(struct dialer_attempt *a)
{
	char *ip = NULL;
	long port = 0, proxy_status = 0;

	curl_easy_getinfo(a->easy, CURLINFO_PRIMARY_IP, &ip);
	curl_easy_getinfo(a->easy, CURLINFO_PRIMARY_PORT, &port);
	curl_easy_getinfo(a->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
	a->proxied = proxy_status != 0;
	if (ip == NULL || *ip == '\0')
		return;
	snprintf(a->address, sizeof a->address, strchr(ip, ':') ? "[%s]:%ld" : "%s:%ld", ip, port);
}

/* Writes "HOST:PORT (VARIABLE)" for a variable's value, without the user and password that it may
 * hold. */
static void name_proxy(struct dialer_attempt *a, const char *variable, const char *value)
{
	CURLU *url = curl_url();
	char *host = NULL, *port = NULL;
	char text[PROXY_BYTES];

	CHECK(url != NULL);
	if (curl_url_set(url, CURLUPART_URL, value,
			 CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
	    curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
		(void)curl_url_get(url, CURLUPART_PORT, &port, 0);
		snprintf(text, sizeof text, "%s:%s (%s)", host, port != NULL ? port : "1080",
			 variable);
		cli_show(a->proxy, sizeof a->proxy, text);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(url);
}

/* Finds the proxy in libcurl's debug output: one line names it, "Uses proxy env variable NAME ==
 * 'VALUE'". Older versions have no option for it. */
static int on_debug(CURL *easy, curl_infotype type, char *data, size_t bytes, void *ctx)
{
	static const char begin[] = "Uses proxy env variable ";
	char *line, *equals, *end;

	(void)easy;
	if (type != CURLINFO_TEXT || bytes < sizeof begin ||
	    strncmp(data, begin, sizeof begin - 1) != 0)
		return 0;
	line = strndup(data + sizeof begin - 1, bytes - (sizeof begin - 1));
	CHECK(line != NULL);
	equals = strstr(line, " == '");
	end = strrchr(line, '\'');
	if (equals != NULL && end > equals + 4 && strncasecmp(line, "no_proxy", 8) != 0) {
		*equals = *end = '\0';
		name_proxy(ctx, line, equals + 5);
	}
	free(line);
	return 0;
}

/* Takes libcurl's message, or the system's where libcurl has none. */
static void explain(struct dialer_attempt *a, CURLcode result)
{
	char text[CURL_ERROR_SIZE + 160], known[128] = "", said[WHY_BYTES - PROXY_BYTES - 40];
	int number = os_error(a);

	if (result == CURLE_COULDNT_CONNECT || result == CURLE_SSL_CONNECT_ERROR)
		snprintf(known, sizeof known, "%s", strerror(number));
	snprintf(text, sizeof text, "%s%s%s%s", *a->error ? a->error : curl_easy_strerror(result),
		 number != 0 && *known ? " (" : "", number != 0 ? known : "",
		 number != 0 && *known ? ")" : "");
	cli_show(said, sizeof said, text);
	if (*a->proxy != '\0')
		snprintf(a->why, sizeof a->why, "through the proxy %s: %s", a->proxy, said);
	else
		snprintf(a->why, sizeof a->why, "%s", said);
}

static void end_easy(struct dialer_attempt *a)
{
	if (a->easy == NULL)
		return;
	curl_multi_remove_handle(a->dialer->multi, a->easy);
	curl_easy_cleanup(a->easy);
	a->easy = NULL;
}

/* Returns the descriptor, -1 if there is none. Without TLS the caller owns it, and libcurl's handle
 * is freed. */
static int detach_descriptor(struct dialer_attempt *a)
{
	curl_socket_t active = CURL_SOCKET_BAD;

	if (curl_easy_getinfo(a->easy, CURLINFO_ACTIVESOCKET, &active) != CURLE_OK ||
	    active == CURL_SOCKET_BAD)
		return -1;
	if (a->dialer->tls)
		return active;
	int fd = fcntl(active, F_DUPFD_CLOEXEC, 0);
	end_easy(a);
	return fd;
}

static void on_over(struct dialer_attempt *a, CURLcode result)
{
	int fd = -1;

	read_address(a);
	if (result != CURLE_OK)
		explain(a, result);
	else if ((fd = detach_descriptor(a)) < 0)
		snprintf(a->why, sizeof a->why, "no descriptor is left");
	a->over(a->ctx, fd);
}

/* --- attempts --- */

static void set_options(struct dialer_attempt *a)
{
	const struct dialer *d = a->dialer;
	CURL *e = a->easy;

	curl_easy_setopt(e, CURLOPT_URL, d->url);
	curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)(d->to_server ? SERVER_TIMEOUT_MS : CONNECT_TIMEOUT_MS));
	/* A name look-up that hangs ends with its thread, not with the attempt. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	if (d->direct) {
		curl_easy_setopt(e, CURLOPT_PROXY, "");
	} else {
		curl_easy_setopt(e, CURLOPT_VERBOSE, 1L);
		curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
		curl_easy_setopt(e, CURLOPT_DEBUGDATA, a);
	}
	/* Send CONNECT HOST:PORT to a proxy, never our request with the token. */
	curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, a->error);
	curl_easy_setopt(e, CURLOPT_PRIVATE, a);
	if (d->unix_path != NULL)
		curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, d->unix_path);
	if (d->ca_file != NULL)
		curl_easy_setopt(e, CURLOPT_CAINFO, d->ca_file);
	if (d->insecure) {
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

struct dialer_attempt *dialer_start(struct dialer *d, void (*over)(void *ctx, int fd), void *ctx)
{
	struct dialer_attempt *a = xcalloc(1, sizeof *a);

	a->dialer = d;
	a->over = over;
	a->ctx = ctx;
	strcpy(a->address, "-");
	a->easy = curl_easy_init();
	CHECK(a->easy != NULL);
	set_options(a);
	CHECK(curl_multi_add_handle(d->multi, a->easy) == CURLM_OK);
	return a;
}

void dialer_end(struct dialer_attempt **ap)
{
	struct dialer_attempt *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	end_easy(a);
	free(a);
}

const char *dialer_why(const struct dialer_attempt *a)
{
	return a->why;
}

const char *dialer_address(const struct dialer_attempt *a)
{
	return a->address;
}

bool dialer_is_proxied(const struct dialer_attempt *a)
{
	return a->proxied;
}

/* --- libcurl on libuv, while it connects --- */

/* A socket that libcurl wants watched. */
struct watched_socket {
	uv_poll_t poll;
	struct dialer *dialer;
	curl_socket_t fd;
	int events;
};

static void act(struct dialer *d, curl_socket_t fd, int what)
{
	CURLMsg *m;
	int running, left;

	curl_multi_socket_action(d->multi, fd, what, &running);
	while ((m = curl_multi_info_read(d->multi, &left)) != NULL) {
		struct dialer_attempt *a = NULL;
		CURLcode result = m->data.result;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&a);
		if (m->msg == CURLMSG_DONE)
			on_over(a, result);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watched_socket *w = poll->data;

	if (status < 0) {
		/* After POLLERR, libuv has stopped the handle; libcurl finds out what is wrong. */
		act(w->dialer, w->fd, CURL_CSELECT_ERR);
		if (!uv_is_closing((uv_handle_t *)poll))
			uv_poll_start(poll, w->events, on_poll);
		return;
	}
	act(w->dialer, w->fd,
	    ((events & UV_READABLE) ? CURL_CSELECT_IN : 0) |
		    ((events & UV_WRITABLE) ? CURL_CSELECT_OUT : 0));
}

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_data)
{
	struct dialer *d = arg;
	struct watched_socket *w = socket_data;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			uv_poll_stop(&w->poll);
			curl_multi_assign(d->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, watch_closed);
		}
		return 0;
	}
	if (w == NULL) {
		w = xcalloc(1, sizeof *w);
		w->dialer = d;
		w->fd = fd;
		w->poll.data = w;
		CHECK(uv_poll_init_socket(d->loop, &w->poll, fd) == 0);
		curl_multi_assign(d->multi, fd, w);
	}
	w->events = ((what & CURL_POLL_IN) ? UV_READABLE : 0) |
		    ((what & CURL_POLL_OUT) ? UV_WRITABLE : 0);
	uv_poll_start(&w->poll, w->events, on_poll);
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *arg)
{
	struct dialer *d = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&d->timer);
	else
		uv_timer_start(&d->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static struct dialer *make(uv_loop_t *loop, const char *scheme, const char *authority)
{
	struct dialer *d = xcalloc(1, sizeof *d);
	size_t url_bytes = strlen(scheme) + strlen(authority) + 5;

	d->loop = loop;
	d->tls = strcmp(scheme, "https") == 0;
	d->url = xmalloc(url_bytes);
	snprintf(d->url, url_bytes, "%s://%s/", scheme, authority);
	d->multi = curl_multi_init();
	CHECK(d->multi != NULL && uv_timer_init(loop, &d->timer) == 0);
	d->timer.data = d;
	curl_multi_setopt(d->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(d->multi, CURLMOPT_SOCKETDATA, d);
	curl_multi_setopt(d->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	curl_multi_setopt(d->multi, CURLMOPT_TIMERDATA, d);
	curl_multi_setopt(d->multi, CURLMOPT_MAXCONNECTS, (long)CACHE_CONNECTIONS);
	return d;
}

struct dialer *dialer_new_to_target(uv_loop_t *loop, const struct target *target)
{
	bool tls = strncmp(target->origin, "https:", 6) == 0;
	struct dialer *d = make(loop, tls ? "https" : "http", target->authority);

	d->unix_path = target->unix_path;
	d->ca_file = target->ca_file;
	d->insecure = target->insecure;
	d->direct = true;
	return d;
}

struct dialer *dialer_new_to_server(uv_loop_t *loop, const struct tunnel_server *server)
{
	struct dialer *d = make(loop, server->tls ? "https" : "http", server->url.authority);

	d->to_server = true;
	d->ca_file = server->ca_file;
	d->insecure = server->insecure;
	d->direct = server->is_loopback;
	return d;
}

static void timer_closed(uv_handle_t *handle)
{
	struct dialer *d = handle->data;

	free(d->url);
	free(d);
}

void dialer_destroy(struct dialer **dp)
{
	struct dialer *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	curl_multi_cleanup(d->multi);
	uv_close((uv_handle_t *)&d->timer, timer_closed);
}

bool dialer_is_to_server(const struct dialer *d)
{
	return d->to_server;
}

uv_loop_t *dialer_loop(const struct dialer *d)
{
	return d->loop;
}

void dialer_library_start(void)
{
	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

void dialer_library_stop(void)
{
	curl_global_cleanup();
}

const char *dialer_library_version(void)
{
	return curl_version_info(CURLVERSION_NOW)->version;
}
