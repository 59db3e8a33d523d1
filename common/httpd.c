/* common/httpd.c - see httpd.h.
 *
 * libmicrohttpd owns the connections and has its own epoll set. The loop watches that set's
 * descriptor and one timer; either event calls MHD_run(), which never blocks. */
#include "common/httpd.h"

#include "common/buf.h"
#include "common/cli.h"
#include "common/endpoint.h"
#include "common/log.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum { BACKLOG = 64, TICK_MS = 1000, STREAM_BLOCK_BYTES = 16 * 1024 };

struct peer {
	TAILQ_ENTRY(peer) link; /* httpd->peers */
	uint64_t since_ms;
	int fd;
	struct httpd_stream *stream; /* its response; NULL: another one */
};

struct httpd_request {
	struct MHD_Connection *connection;
};

struct httpd_stream {
	struct httpd *httpd; /* NULL: the response was not queued */
	struct MHD_Connection *connection;
	struct peer *peer;
	void (*closed)(void *ctx, struct httpd_stream *s);
	void *ctx;
	struct buf lines;
	uint64_t sent_ms;
	bool suspended; /* there is nothing to send */
};

struct httpd {
	uv_loop_t *loop;
	struct MHD_Daemon *daemon;
	const struct httpd_route *routes;
	void *ctx;
	uv_poll_t poll;
	uv_timer_t timer;
	TAILQ_HEAD(, peer) peers; /* the oldest is the first */
	int handles;		  /* of the loop, not yet closed */
	struct endpoint endpoint; /* its descriptor belongs to the daemon */
};

/* --- connections --- */

static void on_connection(void *ctx, struct MHD_Connection *connection, void **mine,
			  enum MHD_ConnectionNotificationCode code)
{
	struct httpd *h = ctx;
	struct peer *p = *mine;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		*mine = p = xcalloc(1, sizeof *p);
		p->since_ms = uv_now(h->loop);
		p->fd = info->connect_fd;
		TAILQ_INSERT_TAIL(&h->peers, p, link);
	} else if (p != NULL) {
		TAILQ_REMOVE(&h->peers, p, link);
		if (p->stream != NULL)
			p->stream->peer = NULL;
		*mine = NULL;
		free(p);
	}
}

/* Enforces HTTPD_LIFE_MS. libmicrohttpd limits only idle time, and a peer that reads a byte every
 * few seconds is never idle. */
static void end_old_peers(struct httpd *h)
{
	struct peer *p;

	TAILQ_FOREACH (p, &h->peers, link) {
		if (uv_now(h->loop) < p->since_ms + HTTPD_LIFE_MS)
			return;
		if (p->stream == NULL)
			shutdown(p->fd, SHUT_RDWR);
	}
}

/* --- streams --- */

struct httpd_stream *httpd_stream_new(void (*closed)(void *ctx, struct httpd_stream *s), void *ctx)
{
	struct httpd_stream *s = xcalloc(1, sizeof *s);

	s->closed = closed;
	s->ctx = ctx;
	return s;
}

static void resume_stream(struct httpd_stream *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	MHD_resume_connection(s->connection);
}

static void on_timer(uv_timer_t *timer);

bool httpd_stream_put(struct httpd_stream *s, const char *text, size_t bytes)
{
	if (buf_bytes(&s->lines) + bytes > HTTPD_STREAM_BYTES)
		return false;
	buf_append(&s->lines, text, bytes);
	if (s->suspended)
		uv_timer_start(&s->httpd->timer, on_timer, 0, 0);
	resume_stream(s);
	return true;
}

/* libmicrohttpd does not look at a connection that is suspended. */
static void feed_silent_streams(struct httpd *h)
{
	struct peer *p;

	TAILQ_FOREACH (p, &h->peers, link) {
		if (p->stream != NULL && p->stream->suspended &&
		    uv_now(h->loop) >= p->stream->sent_ms + HTTPD_STREAM_EMPTY_LINE_MS)
			(void)httpd_stream_put(p->stream, "\n", 1);
	}
}

static ssize_t on_stream_room(void *ctx, uint64_t offset, char *out, size_t room)
{
	struct httpd_stream *s = ctx;
	size_t bytes = buf_bytes(&s->lines);

	(void)offset;
	if (bytes == 0) {
		s->suspended = true;
		MHD_suspend_connection(s->connection);
		return 0;
	}
	bytes = bytes < room ? bytes : room;
	memcpy(out, buf_first(&s->lines), bytes);
	buf_consume(&s->lines, bytes);
	s->sent_ms = uv_now(s->httpd->loop);
	return (ssize_t)bytes;
}

static void on_stream_end(void *ctx)
{
	struct httpd_stream *s = ctx;

	if (s->peer != NULL)
		s->peer->stream = NULL;
	s->closed(s->ctx, s);
	buf_fini(&s->lines);
	free(s);
}

static void run(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	end_old_peers(h);
	feed_silent_streams(h);
	(void)MHD_run(h->daemon);
	if (MHD_get_timeout(h->daemon, &wait_ms) != MHD_YES || wait_ms > TICK_MS)
		wait_ms = TICK_MS;
	if (wait_ms < TICK_MS || !TAILQ_EMPTY(&h->peers))
		uv_timer_start(&h->timer, on_timer, wait_ms, 0);
	else
		uv_timer_stop(&h->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

/* --- requests --- */

static void fill_not_found(struct httpd_response *out)
{
	out->status = MHD_HTTP_NOT_FOUND;
	out->content_type = "application/json";
	out->body = xstrdup("{\"detail\":\"There is nothing here.\"}");
	out->body_bytes = strlen(out->body);
}

static const struct httpd_route *find(const struct httpd *h, const char *method, const char *path)
{
	if (strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
		method = MHD_HTTP_METHOD_GET;
	for (const struct httpd_route *r = h->routes; r->method != NULL; r++) {
		if (strcmp(r->method, method) == 0 && strcmp(r->path, path) == 0)
			return r;
	}
	return NULL;
}

const char *httpd_argument(const struct httpd_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

static struct MHD_Response *stream_response(struct httpd *h, struct MHD_Connection *connection,
					    struct httpd_stream *s)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	s->httpd = h;
	s->connection = connection;
	s->peer = info->socket_context;
	s->peer->stream = s;
	s->sent_ms = uv_now(h->loop);
	return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
						 on_stream_room, s, on_stream_end);
}

static enum MHD_Result queue(struct httpd *h, struct MHD_Connection *connection,
			     struct httpd_response *out)
{
	struct MHD_Response *response =
		out->stream != NULL ? stream_response(h, connection, out->stream)
				    : MHD_create_response_from_buffer(out->body_bytes, out->body,
								      MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (response == NULL) {
		if (out->stream != NULL)
			on_stream_end(out->stream);
		free(out->body);
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, out->content_type);
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (out->status == MHD_HTTP_NOT_FOUND)
		(void)MHD_add_response_header(response, "x-pipegate-error",
					      "not-found; delivered=no");
	result = MHD_queue_response(connection, (unsigned)out->status, response);
	MHD_destroy_response(response); /* the connection holds a reference until it is sent */
	return result;
}

/* Responds at the first call, before any body was read; libmicrohttpd then reads no body and closes
 * the connection. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_bytes, void **mine)
{
	struct httpd *h = ctx;
	const struct httpd_request request = {.connection = connection};
	struct httpd_response out = {.status = MHD_HTTP_OK, .content_type = "text/plain"};
	const struct httpd_route *route = find(h, method, url);

	(void)version;
	(void)upload;
	(void)upload_bytes;
	(void)mine;
	if (route != NULL)
		route->handler(h->ctx, &request, &out);
	else
		fill_not_found(&out);
	return queue(h, connection, &out);
}

PRINTF_LIKE(2, 0)
static void on_library_log(void *ctx, const char *format, va_list arguments)
{
	char text[256];

	(void)ctx;
	vsnprintf(text, sizeof text, format, arguments);
	text[strcspn(text, "\r\n")] = '\0';
	log_debug("httpd.library says=\"%s\"", text);
}

/* --- start and end --- */

/* Starts the daemon, which owns the listening descriptor from then on. False: one line on stderr
 * has the reason. */
static bool start(struct httpd *h, const char *spec, const char *name)
{
	h->daemon =
		MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0,
				 NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER,
				 on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET, h->endpoint.fd,
				 MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTPD_CONNECTIONS_MAX,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTPD_MEMORY_BYTES,
				 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTPD_SILENCE_S,
				 MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
	if (h->daemon == NULL) {
		(void)cli_complain(name, "cannot start the HTTP server", spec);
		return false;
	}
	h->endpoint.fd = -1;
	return true;
}

struct httpd *httpd_new(uv_loop_t *loop, const char *spec, const char *name,
			const char *socket_group, const struct httpd_route *routes, void *ctx)
{
	struct httpd *h = xcalloc(1, sizeof *h);

	h->loop = loop;
	h->routes = routes;
	h->ctx = ctx;
	TAILQ_INIT(&h->peers);
	if (!endpoint_open(&h->endpoint, spec, name, socket_group, BACKLOG)) {
		free(h);
		return NULL;
	}
	if (!start(h, spec, name)) {
		endpoint_close(&h->endpoint);
		free(h);
		return NULL;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	CHECK(uv_poll_init(loop, &h->poll, info->epoll_fd) == 0);
	uv_timer_init(loop, &h->timer);
	h->poll.data = h->timer.data = h;
	h->handles = 2;
	uv_poll_start(&h->poll, UV_READABLE, on_poll);
	return h;
}

const char *httpd_address(const struct httpd *h)
{
	return h->endpoint.shown;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct httpd *h = handle->data;

	h->handles--;
}

void httpd_stop(struct httpd *h)
{
	if (h == NULL || h->daemon == NULL)
		return;
	struct peer *p;

	TAILQ_FOREACH (p, &h->peers, link) { /* libmicrohttpd refuses to stop without */
		if (p->stream != NULL)
			resume_stream(p->stream);
	}
	uv_close((uv_handle_t *)&h->poll, on_handle_closed);
	uv_close((uv_handle_t *)&h->timer, on_handle_closed);
	endpoint_close(&h->endpoint);
	MHD_stop_daemon(h->daemon);
	h->daemon = NULL;
}

void httpd_destroy(struct httpd **hp)
{
	struct httpd *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	CHECK(h->daemon == NULL && h->handles == 0);
	free(h);
}

const char *httpd_library_version(void)
{
	return MHD_get_version();
}
