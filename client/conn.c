/* client/conn.c - see conn.h.
 *
 * libcurl connects. Of a connection without TLS the descriptor is ours from then on, libcurl's handle is gone; with
 * TLS the handle stays, and bytes go through it. libcurl names the sockets that it wants watched meanwhile; each
 * has a `watch`, which ends before the connection's own begins: libuv allows one for a descriptor. */
#include "client/conn.h"

#include "common/cli.h"
#include "common/log.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONNECT_TIMEOUT_MS = 10000,
	/* Less than an attempt has in all: libcurl knows what it waits for. */
	SERVER_TIMEOUT_MS = 18000,
	TLS_PIECE_BYTES = 16 * 1024,
	CACHE_CONNECTIONS = 1 << 20,	 /* libcurl shall close none that is ours */
	NOT_SENT_LOW_WATER = 128 * 1024, /* unsent bytes in the kernel: urgent ones must not wait */
	WHY_BYTES = 600,
	PROXY_BYTES = 300, /* a host name, its port, and the variable that holds them */
	ADDRESS_BYTES = 80,
};

struct conns {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	char *url; /* what libcurl connects to */
	bool tls;
	bool to_server;
	bool direct; /* no proxy, whatever the environment says */
	const char *unix_path, *ca_file;
	bool insecure;
};

struct conn {
	struct conns *all;
	const struct conn_events *events;
	void *ctx;
	CURL *easy; /* while it connects, and with TLS */
	int fd;	    /* -1: not connected */
	uv_poll_t poll;
	int watched;	    /* UV_READABLE, UV_WRITABLE; 0: the poll handle is stopped */
	bool drained;	    /* all was read that had come at the last event */
	bool reset;	    /* a write met it: an end that is read now is not the app's word */
	uint8_t *tls_piece; /* with TLS: what is being sent. NULL: none yet */
	size_t tls_bytes;   /* of it, which had to wait */
	int broken_by;	    /* errno of what broke it; 0: unknown */
	bool proxied;
	char proxy[PROXY_BYTES]; /* "HOST:PORT (VARIABLE)"; "": none, or it is unknown */
	char address[ADDRESS_BYTES];
	char error[CURL_ERROR_SIZE];
	char why[WHY_BYTES];
};

/* --- bytes --- */

static ssize_t broken(struct conn *w, int by)
{
	if (w->broken_by == 0)
		w->broken_by = by;
	return CONN_BROKEN;
}

static int os_error(const struct conn *w)
{
	long number = 0;

	(void)curl_easy_getinfo(w->easy, CURLINFO_OS_ERRNO, &number);
	return (int)number;
}

static ssize_t read_tls(struct conn *w, void *out, size_t bytes)
{
	size_t got = 0;
	CURLcode result = curl_easy_recv(w->easy, out, bytes, &got);

	if (result == CURLE_AGAIN)
		return CONN_WAIT;
	if (result != CURLE_OK)
		return broken(w, os_error(w));
	return got > 0 ? (ssize_t)got : CONN_END;
}

ssize_t conn_read(struct conn *w, void *out, size_t bytes)
{
	ssize_t got;

	if (w->easy != NULL)
		return read_tls(w, out, bytes);
	if (w->drained)
		return CONN_WAIT;
	do {
		got = recv(w->fd, out, bytes, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	w->drained = got != 0 && got < (ssize_t)bytes;
	if (got > 0)
		return got;
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_WAIT : broken(w, errno);
	return w->reset ? CONN_BROKEN : CONN_END;
}

/* OpenSSL wants bytes that had to wait to come from the same place again. */
static ssize_t write_tls(struct conn *w, const void *data, size_t bytes)
{
	size_t sent = 0;

	if (w->tls_piece == NULL)
		w->tls_piece = xmalloc(TLS_PIECE_BYTES);
	if (w->tls_bytes == 0) {
		w->tls_bytes = bytes < TLS_PIECE_BYTES ? bytes : TLS_PIECE_BYTES;
		memcpy(w->tls_piece, data, w->tls_bytes);
	}
	CURLcode result = curl_easy_send(w->easy, w->tls_piece, w->tls_bytes, &sent);
	if (result == CURLE_AGAIN)
		return CONN_WAIT;
	w->tls_bytes = 0;
	return result == CURLE_OK ? (ssize_t)sent : broken(w, os_error(w));
}

ssize_t conn_write(struct conn *w, const void *data, size_t bytes)
{
	ssize_t sent;

	if (w->easy != NULL)
		return write_tls(w, data, bytes);
	do {
		sent = send(w->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return CONN_WAIT;
	/* The kernel tells an error once. EPIPE comes after the app's proper end, or after an earlier error. */
	w->reset = w->reset || errno != EPIPE;
	w->drained = false;
	return broken(w, errno);
}

bool conn_end_writing(struct conn *w)
{
	/* TLS has its own word for it, which libcurl cannot say. */
	return w->easy == NULL && shutdown(w->fd, SHUT_WR) == 0;
}

bool conn_is_quiet(struct conn *w)
{
	char byte;

	if (w->easy !=
	    NULL) /* libcurl or OpenSSL may hold bytes; a session ticket is none of the app's */
		return read_tls(w, &byte, 1) == CONN_WAIT;
	return recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* --- readiness --- */

static void on_conn(uv_poll_t *poll, int status, int events)
{
	struct conn *w = poll->data;

	(void)events;
	/* libuv has met POLLERR and has stopped: the error shows when it is read. */
	if (status < 0)
		w->watched = 0;
	w->drained = false;
	w->events->ready(w->ctx);
}

void conn_watch(struct conn *w, bool read, bool write)
{
	int wanted = (read ? UV_READABLE : 0) | (write ? UV_WRITABLE : 0);

	if (w->fd < 0 || wanted == w->watched)
		return;
	w->watched = wanted;
	if (wanted != 0)
		uv_poll_start(&w->poll, wanted, on_conn);
	else
		uv_poll_stop(&w->poll);
}

/* --- begin and end --- */

static void end_easy(struct conn *w)
{
	if (w->easy == NULL)
		return;
	curl_multi_remove_handle(w->all->multi, w->easy);
	curl_easy_cleanup(w->easy);
	w->easy = NULL;
}

static void conn_free(struct conn *w)
{
	free(w->tls_piece);
	free(w);
}

static void poll_closed(uv_handle_t *handle)
{
	conn_free(handle->data);
}

void conn_close(struct conn **wp)
{
	struct conn *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	bool polled = w->fd >= 0;
	bool owned = polled && w->easy == NULL;
	if (polled)
		uv_close((uv_handle_t *)&w->poll, poll_closed); /* before the socket is closed */
	end_easy(w);
	if (owned)
		close(w->fd);
	if (!polled)
		conn_free(w);
}

static void set_socket_options(int fd)
{
	int on = 1, low_water = NOT_SENT_LOW_WATER;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_water, sizeof low_water);
}

/* Makes the connection ours. False: there is none. */
static bool take_descriptor(struct conn *w)
{
	curl_socket_t active = CURL_SOCKET_BAD;
	int fd;

	if (curl_easy_getinfo(w->easy, CURLINFO_ACTIVESOCKET, &active) != CURLE_OK ||
	    active == CURL_SOCKET_BAD)
		return false;
	fd = active;
	if (!w->all->tls) {
		fd = fcntl(active, F_DUPFD_CLOEXEC, 0);
		end_easy(w);
	}
	if (fd >= 0 && w->all->to_server)
		set_socket_options(fd);
	if (fd >= 0 && uv_poll_init_socket(w->all->loop, &w->poll, fd) == 0) {
		w->poll.data = w;
		w->fd = fd;
		return true;
	}
	if (fd >= 0 && !w->all->tls)
		close(fd);
	return false;
}

static void read_address(struct conn *w)
{
	char *ip = NULL;
	long port = 0, proxy_status = 0;

	curl_easy_getinfo(w->easy, CURLINFO_PRIMARY_IP, &ip);
	curl_easy_getinfo(w->easy, CURLINFO_PRIMARY_PORT, &port);
	curl_easy_getinfo(w->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
	w->proxied = proxy_status != 0;
	if (ip == NULL || *ip == '\0')
		return;
	snprintf(w->address, sizeof w->address, strchr(ip, ':') ? "[%s]:%ld" : "%s:%ld", ip, port);
}

/* "HOST:PORT (VARIABLE)" of a variable's value, without the user and password that may stand in it. */
static void name_proxy(struct conn *w, const char *variable, const char *value)
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
		cli_show(w->proxy, sizeof w->proxy, text);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(url);
}

/* Of all that libcurl says of its work, one line names the proxy that it takes; no option of older versions does:
 * "Uses proxy env variable NAME == 'VALUE'". */
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

/* libcurl's words, and those of the system where libcurl has none. */
static void explain(struct conn *w, CURLcode result)
{
	char text[CURL_ERROR_SIZE + 160], known[128] = "", said[WHY_BYTES - PROXY_BYTES - 40];
	int number = os_error(w);

	if (result == CURLE_COULDNT_CONNECT || result == CURLE_SSL_CONNECT_ERROR)
		snprintf(known, sizeof known, "%s", strerror(number));
	snprintf(text, sizeof text, "%s%s%s%s", *w->error ? w->error : curl_easy_strerror(result),
		 number != 0 && *known ? " (" : "", number != 0 ? known : "",
		 number != 0 && *known ? ")" : "");
	cli_show(said, sizeof said, text);
	if (*w->proxy != '\0')
		snprintf(w->why, sizeof w->why, "through the proxy %s: %s", w->proxy, said);
	else
		snprintf(w->why, sizeof w->why, "%s", said);
}

/* An attempt is over. */
static void connected(struct conn *w, CURLcode result)
{
	read_address(w);
	if (result == CURLE_OK && take_descriptor(w)) {
		w->events->connected(w->ctx);
		return;
	}
	explain(w, result);
	w->events->failed(w->ctx);
}

static void set_options(struct conn *w)
{
	const struct conns *all = w->all;
	CURL *e = w->easy;

	curl_easy_setopt(e, CURLOPT_URL, all->url);
	curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)(all->to_server ? SERVER_TIMEOUT_MS : CONNECT_TIMEOUT_MS));
	/* A look-up that hangs ends with its thread, not with the attempt. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	if (all->direct) {
		curl_easy_setopt(e, CURLOPT_PROXY, "");
	} else {
		curl_easy_setopt(e, CURLOPT_VERBOSE, 1L);
		curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
		curl_easy_setopt(e, CURLOPT_DEBUGDATA, w);
	}
	/* A proxy gets CONNECT HOST:PORT, never our request with the token. */
	curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, w->error);
	curl_easy_setopt(e, CURLOPT_PRIVATE, w);
	if (all->unix_path != NULL)
		curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, all->unix_path);
	if (all->ca_file != NULL)
		curl_easy_setopt(e, CURLOPT_CAINFO, all->ca_file);
	if (all->insecure) {
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

struct conn *conn_open(struct conns *all, const struct conn_events *events, void *ctx)
{
	struct conn *w = xcalloc(1, sizeof *w);

	w->all = all;
	w->events = events;
	w->ctx = ctx;
	w->fd = -1;
	strcpy(w->address, "-");
	w->easy = curl_easy_init();
	CHECK(w->easy != NULL);
	set_options(w);
	CHECK(curl_multi_add_handle(all->multi, w->easy) == CURLM_OK);
	return w;
}

void conn_hand_over(struct conn *w, const struct conn_events *events, void *ctx)
{
	w->events = events;
	w->ctx = ctx;
}

/* --- libcurl on libuv, while it connects --- */

/* One socket of libcurl's that it wants watched. */
struct watched_socket {
	uv_poll_t poll;
	struct conns *all;
	curl_socket_t fd;
	int events;
};

static void act(struct conns *all, curl_socket_t fd, int what)
{
	CURLMsg *m;
	int running, left;

	curl_multi_socket_action(all->multi, fd, what, &running);
	while ((m = curl_multi_info_read(all->multi, &left)) != NULL) {
		struct conn *w = NULL;
		CURLcode result = m->data.result;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&w);
		if (m->msg == CURLMSG_DONE)
			connected(w, result);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watched_socket *w = poll->data;

	if (status < 0) {
		/* POLLERR, and libuv has stopped: libcurl looks for itself what is wrong. */
		act(w->all, w->fd, CURL_CSELECT_ERR);
		if (!uv_is_closing((uv_handle_t *)poll))
			uv_poll_start(poll, w->events, on_poll);
		return;
	}
	act(w->all, w->fd,
	    ((events & UV_READABLE) ? CURL_CSELECT_IN : 0) |
		    ((events & UV_WRITABLE) ? CURL_CSELECT_OUT : 0));
}

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_data)
{
	struct conns *all = arg;
	struct watched_socket *w = socket_data;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			uv_poll_stop(&w->poll);
			curl_multi_assign(all->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, watch_closed);
		}
		return 0;
	}
	if (w == NULL) {
		w = xcalloc(1, sizeof *w);
		w->all = all;
		w->fd = fd;
		w->poll.data = w;
		CHECK(uv_poll_init_socket(all->loop, &w->poll, fd) == 0);
		curl_multi_assign(all->multi, fd, w);
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
	struct conns *all = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&all->timer);
	else
		uv_timer_start(&all->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static struct conns *make_wires(uv_loop_t *loop, const char *scheme, const char *authority)
{
	struct conns *all = xcalloc(1, sizeof *all);
	size_t url_bytes = strlen(scheme) + strlen(authority) + 5;

	all->loop = loop;
	all->tls = strcmp(scheme, "https") == 0;
	all->url = xmalloc(url_bytes);
	snprintf(all->url, url_bytes, "%s://%s/", scheme, authority);
	all->multi = curl_multi_init();
	CHECK(all->multi != NULL && uv_timer_init(loop, &all->timer) == 0);
	all->timer.data = all;
	curl_multi_setopt(all->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(all->multi, CURLMOPT_SOCKETDATA, all);
	curl_multi_setopt(all->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	curl_multi_setopt(all->multi, CURLMOPT_TIMERDATA, all);
	curl_multi_setopt(all->multi, CURLMOPT_MAXCONNECTS, (long)CACHE_CONNECTIONS);
	return all;
}

struct conns *conns_new(uv_loop_t *loop, const struct target *target)
{
	bool tls = strncmp(target->origin, "https:", 6) == 0;
	struct conns *all = make_wires(loop, tls ? "https" : "http", target->authority);

	all->unix_path = target->unix_path;
	all->ca_file = target->ca_file;
	all->insecure = target->insecure;
	all->direct = true;
	return all;
}

struct conns *conns_new_to_server(uv_loop_t *loop, const struct tunnel_server *server)
{
	struct conns *all = make_wires(loop, server->tls ? "https" : "http", server->url.authority);

	all->to_server = true;
	all->ca_file = server->ca_file;
	all->insecure = server->insecure;
	all->direct = server->is_loopback;
	return all;
}

static void timer_closed(uv_handle_t *handle)
{
	struct conns *all = handle->data;

	free(all->url);
	free(all);
}

void conns_destroy(struct conns **wp)
{
	struct conns *all = *wp;

	*wp = NULL;
	if (all == NULL)
		return;
	curl_multi_cleanup(all->multi);
	uv_close((uv_handle_t *)&all->timer, timer_closed);
}

/* --- what it says of itself --- */

const char *conn_why(struct conn *w)
{
	if (*w->why == '\0' && w->broken_by != 0)
		snprintf(w->why, sizeof w->why, "%s", strerror(w->broken_by));
	return w->why;
}

const char *conn_address(const struct conn *w)
{
	return w->address;
}

bool conn_is_proxied(const struct conn *w)
{
	return w->proxied;
}

void conn_library_start(void)
{
	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

void conn_library_stop(void)
{
	curl_global_cleanup();
}

const char *conn_library_version(void)
{
	return curl_version_info(CURLVERSION_NOW)->version;
}
