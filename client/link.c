/* client/link.c - see link.h.
 *
 *   WAITING --timer--> CONNECTING --handshake--> OPEN --> WAITING, or OVER
 *
 * Callbacks of libwebsockets mark; on_turn(), once per turn of the loop, lets the session work and
 * writes what it has to say in as few messages as it makes. */
#include "client/link.h"

#include "client/message.h"
#include "client/session.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/frame.h"
#include "common/id.h"
#include "common/log.h"

#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	RX_BYTES = 64 * 1024,
	HEADERS_BYTES = 32 * 1024, /* of the handshake, the token among them */
	MESSAGES_PER_TURN = 32,
	NOT_SENT_LOW_WATER =
		128 * 1024, /* unsent bytes in the kernel: what is urgent must not wait */
	PING_AFTER_S = 20,
	HANG_UP_AFTER_S = 30,
	HANDSHAKE_S = 20,
	CLOSE_WAIT_S = 5,
	BACKOFF_LEAST_MS = 1000,
	BACKOFF_MOST_MS = 60000,
	CLOSING_TURNS = 4,
	HELD_MS = 10000, /* a connection that lasted so long was a good one */
};

struct link {
	uv_loop_t *loop;
	const struct settings *settings;
	struct origin *origin;
	void (*on_over)(void *ctx, int exit_code);
	void *ctx;

	struct lws_context *context;
	struct lws_vhost *vhost;
	uv_timer_t timer; /* WAITING: the next attempt; while stopping: the end of patience */
	uv_prepare_t turn;
	uv_idle_t again; /* active: come back without waiting */
	int open_handles;

	enum { LINK_WAITING, LINK_CONNECTING, LINK_OPEN, LINK_OVER } state;
	struct lws *wsi; /* CONNECTING, OPEN */
	bool v2;	 /* the server chose pipegate.v2 */
	const struct session_kind *kind;
	void *session; /* OPEN */
	struct buf in; /* a message that has not come whole */
	uint8_t *out;  /* MESSAGE_HEAD_BYTES and SESSION_PULL_BYTES */
	uint64_t opened_ms;
	int64_t backoff_ms;
	bool stopping;

	/* How it ends: what we say, or what the peer said. */
	bool closing;
	int close_code;
	char close_reason[128];
	int refusal; /* 401, 403 or 1008; 0: none */
};

static void over(struct link *l, int exit_code)
{
	if (l->state == LINK_OVER)
		return;
	l->state = LINK_OVER;
	uv_timer_stop(&l->timer);
	uv_prepare_stop(&l->turn);
	uv_idle_stop(&l->again);
	l->on_over(l->ctx, exit_code);
}

/* --- closing --- */

static void set_reason(struct link *l, int code, const void *reason, size_t bytes)
{
	l->close_code = code;
	log_quote(l->close_reason, sizeof l->close_reason, reason, bytes);
}

static void start_closing(struct link *l, int code, const char *reason)
{
	if (l->closing || l->wsi == NULL)
		return;
	l->closing = true;
	set_reason(l, code, reason, strlen(reason));
	lws_callback_on_writable(l->wsi);
	/* A peer that reads nothing never lets us write. */
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_REASON_BASE, CLOSE_WAIT_S);
}

static void session_wants_close(void *ctx, int code, const char *reason)
{
	start_closing(ctx, code, reason);
}

/* -1: libwebsockets says Close and ends the connection. */
static int say_close(struct link *l)
{
	lws_close_reason(l->wsi, (enum lws_close_status)l->close_code,
			 (unsigned char *)l->close_reason, strlen(l->close_reason));
	return -1;
}

/* --- attempts --- */

static void on_timer(uv_timer_t *timer);

/* A random share around the delay, so that a thousand clients do not come back at the same moment. */
static int64_t with_jitter(int64_t delay_ms)
{
	uint16_t random;
	int64_t result;

	id_random(&random, sizeof random);
	result = delay_ms * 4 / 5 + delay_ms * 2 / 5 * random / UINT16_MAX;
	return result < BACKOFF_MOST_MS ? result : BACKOFF_MOST_MS;
}

static void wait_and_retry(struct link *l)
{
	int64_t delay_ms = with_jitter(l->backoff_ms);

	l->backoff_ms *= 2;
	if (l->backoff_ms > BACKOFF_MOST_MS)
		l->backoff_ms = BACKOFF_MOST_MS;
	log_info("tunnel.closed server=%s code=%d reason=\"%s\" retry_ms=%lld",
		 l->settings->server.shown, l->close_code, l->close_reason, (long long)delay_ms);
	uv_timer_start(&l->timer, on_timer, (uint64_t)delay_ms, 0);
}

/* The connection is gone, or was never made. */
static void gone(struct link *l)
{
	if (l->state != LINK_CONNECTING && l->state != LINK_OPEN)
		return;
	if (l->state == LINK_OPEN && uv_now(l->loop) - l->opened_ms >= HELD_MS)
		l->backoff_ms = BACKOFF_LEAST_MS;
	l->state = LINK_WAITING;
	l->wsi = NULL;
	if (l->session != NULL)
		l->kind->free(l->session);
	l->session = NULL;
	buf_fini(&l->in);
	if (l->stopping) {
		over(l, 0);
	} else if (l->refusal != 0) {
		log_error("tunnel.refused server=%s code=%d reason=\"%s\"",
			  l->settings->server.shown, l->refusal, l->close_reason);
		over(l, EXIT_REFUSED);
	} else {
		wait_and_retry(l);
	}
}

static void connect_now(struct link *l)
{
	const struct server *s = &l->settings->server;
	static const lws_retry_bo_t keep_alive = {
		.secs_since_valid_ping = PING_AFTER_S,
		.secs_since_valid_hangup = HANG_UP_AFTER_S,
	};
	struct lws_client_connect_info info = {
		.context = l->context,
		.vhost = l->vhost,
		.address = s->url.host,
		.port = s->port,
		.path = s->url.path,
		.host = s->url.authority,
		.origin = NULL,
		.protocol = PIPEGATE_V2_PROTOCOL,
		.local_protocol_name = PIPEGATE_V2_PROTOCOL,
		.ietf_version_or_minus_one = -1,
		.ssl_connection = s->tls ? LCCSCF_USE_SSL : 0,
		.opaque_user_data = l,
		.retry_and_idle_policy = &keep_alive,
		.pwsi = &l->wsi,
	};

	if (s->tls && l->settings->insecure)
		info.ssl_connection |= LCCSCF_ALLOW_SELFSIGNED | LCCSCF_ALLOW_EXPIRED |
				       LCCSCF_ALLOW_INSECURE |
				       LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
	l->state = LINK_CONNECTING;
	l->closing = l->v2 = false;
	l->refusal = 0;
	set_reason(l, 1006, "connection lost", 15);
	log_debug("tunnel.connect server=%s", s->shown);
	if (lws_client_connect_via_info(&info) == NULL)
		gone(l); /* if a callback has not said so already */
}

static void on_timer(uv_timer_t *timer)
{
	struct link *l = timer->data;

	if (!l->stopping)
		connect_now(l);
	else if (l->state == LINK_OPEN && !l->closing)
		start_closing(l, 1000, "client stops");
	else
		over(l, 0);
}

/* --- writing --- */

/* Writes the piece that stands in `out`. libwebsockets takes it as it is, and keeps what the kernel does not take. */
static int write_piece(struct link *l, size_t bytes, const struct message_piece *piece)
{
	uint8_t key[MESSAGE_KEY_BYTES];
	size_t frame_bytes;

	id_random(key, sizeof key);
	uint8_t *frame =
		message_frame(l->out + MESSAGE_HEAD_BYTES, bytes, piece, key, &frame_bytes);
	return lws_write(l->wsi, frame, frame_bytes, LWS_WRITE_RAW);
}

/* Writes until there is nothing more or the kernel takes no more. -1: the socket is dead. */
static int flush(struct link *l)
{
	struct message_piece piece = {.text = l->kind->text};

	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		if (lws_partial_buffered(l->wsi))
			break;
		size_t bytes = l->kind->pull(l->session, l->out + MESSAGE_HEAD_BYTES, &piece.first,
					     &piece.final);
		if (bytes == 0)
			return 0;
		if (write_piece(l, bytes, &piece) < 0)
			return -1;
	}
	lws_callback_on_writable(l->wsi);
	return 0;
}

static void on_again(uv_idle_t *idle)
{
	(void)idle;
}

static void on_turn(uv_prepare_t *prepare)
{
	struct link *l = prepare->data;

	uv_idle_stop(&l->again);
	if (l->state != LINK_OPEN || l->closing)
		return;
	l->kind->settle(l->session);
	if (flush(l) != 0)
		lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
	else if (l->stopping && l->kind->is_idle(l->session) && !lws_partial_buffered(l->wsi))
		start_closing(l, 1000, "client stops");
	else if (l->kind->is_unsettled(l->session))
		uv_idle_start(&l->again, on_again);
}

/* --- callbacks --- */

static int add_token(struct link *l, char **at, size_t room)
{
	const char *token = l->settings->token;
	int bytes;

	if (token == NULL)
		return 0;
	bytes = snprintf(*at, room, "Authorization: Bearer %s\r\n", token);
	if (bytes < 0 || (size_t)bytes >= room)
		return -1;
	*at += bytes;
	return 0;
}

static void read_protocol(struct link *l)
{
	char name[64];

	l->v2 = lws_hdr_copy(l->wsi, name, sizeof name, WSI_TOKEN_PROTOCOL) > 0 &&
		strcmp(name, PIPEGATE_V2_PROTOCOL) == 0;
}

static void set_socket_options(int fd)
{
	int on = 1, low_water = NOT_SENT_LOW_WATER;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_water, sizeof low_water);
}

static void on_established(struct link *l)
{
	struct session_socket socket = {.ctx = l, .close = session_wants_close};

	set_socket_options(lws_get_socket_fd(l->wsi));
	l->state = LINK_OPEN;
	l->opened_ms = uv_now(l->loop);
	l->kind = l->v2 ? &session_v2 : &session_v1;
	l->session = l->kind->open(l->origin, &socket);
	log_info("tunnel.open server=%s protocol=%s", l->settings->server.shown, l->kind->name);
	if (l->stopping)
		l->kind->drain(l->session);
}

/* One piece of a message. A message that came in one piece is used where it lies. */
static void on_receive(struct link *l, const uint8_t *data, size_t bytes)
{
	bool final = lws_is_final_fragment(l->wsi) && lws_remaining_packet_payload(l->wsi) == 0;

	if (l->state != LINK_OPEN || l->closing)
		return;
	if (buf_bytes(&l->in) + bytes > l->kind->max_message_bytes) {
		start_closing(l, 1009, "message too big");
		buf_fini(&l->in);
		return;
	}
	if (final && buf_bytes(&l->in) == 0) {
		l->kind->receive(l->session, data, bytes);
		return;
	}
	buf_append(&l->in, data, bytes);
	if (final) {
		l->kind->receive(l->session, buf_first(&l->in), buf_bytes(&l->in));
		buf_consume(&l->in, buf_bytes(&l->in));
	}
}

/* The peer's Close: 2 bytes of code, then its reason (RFC 6455 5.5.1). */
static void on_peer_close(struct link *l, const uint8_t *data, size_t bytes)
{
	if (l->closing)
		return;
	if (bytes >= 2)
		set_reason(l, get_be16(data), data + 2, bytes - 2);
	else
		set_reason(l, 1005, "closed without a word", 21);
	if (l->close_code == 1008)
		l->refusal = 1008;
}

static void on_connection_error(struct link *l, struct lws *wsi, const char *why, size_t bytes)
{
	unsigned status = lws_http_client_http_response(wsi);
	char text[64];

	if (status != 0 && status != 101) {
		int length = snprintf(text, sizeof text, "HTTP status %u", status);
		set_reason(l, (int)status, text, (size_t)length);
		if (status == 401 || status == 403)
			l->refusal = (int)status;
	} else if (why != NULL) { /* `bytes` counts its NUL too, or is 0 */
		set_reason(l, 0, why, bytes ? strnlen(why, bytes) : strlen(why));
	}
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t bytes)
{
	struct link *l = lws_get_opaque_user_data(wsi);

	(void)user;
	if (l == NULL || (l->wsi != NULL && l->wsi != wsi))
		return 0;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return add_token(l, in, bytes);
	case LWS_CALLBACK_CLIENT_HTTP_REDIRECT:
		return -1; /* the token is for the server that was named */
	case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
		read_protocol(l);
		return 0;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		on_established(l);
		return 0;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		on_receive(l, in, bytes);
		return 0;
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		if (l->closing)
			return say_close(l);
		return l->session != NULL ? flush(l) : 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		on_peer_close(l, in, bytes);
		return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		on_connection_error(l, wsi, in, bytes);
		gone(l);
		return 0;
	case LWS_CALLBACK_CLIENT_CLOSED:
	case LWS_CALLBACK_WSI_DESTROY:
		gone(l);
		return 0;
	default:
		return 0;
	}
}

static void on_library_log(int level, const char *line)
{
	char text[400];

	(void)level; /* it calls much an error that is everyday behaviour of a network */
	log_debug("websockets.note text=\"%s\"",
		  log_quote(text, sizeof text, line, strcspn(line, "\n")));
}

/* --- start and end --- */

static bool make_context(struct link *l)
{
	static const struct lws_protocols protocols[] = {
		{PIPEGATE_V2_PROTOCOL, callback, 0, RX_BYTES, 0, NULL, SESSION_PULL_BYTES},
		{0},
	};
	void *loops[1] = {l->loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
			   LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.foreign_loops = loops,
		.pcontext = &l->context,
		.pt_serv_buf_size = RX_BYTES,
		.max_http_header_data = HEADERS_BYTES,
		.fd_limit_per_thread = 0,
		.timeout_secs = HANDSHAKE_S,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
	};

	lws_set_log_level(LLL_ERR | LLL_WARN, on_library_log);
	l->context = lws_create_context(&info);
	if (l->context == NULL)
		return false;
	info.vhost_name = "client";
	info.client_ssl_ca_filepath = l->settings->ca_file;
	l->vhost = lws_create_vhost(l->context, &info);
	return l->vhost != NULL;
}

struct link *link_new(uv_loop_t *loop, const struct settings *settings, struct origin *origin,
		      void (*on_over)(void *ctx, int exit_code), void *ctx)
{
	struct link *l = xcalloc(1, sizeof *l);

	l->loop = loop;
	l->settings = settings;
	l->origin = origin;
	l->on_over = on_over;
	l->ctx = ctx;
	l->backoff_ms = BACKOFF_LEAST_MS;
	l->out = xmalloc(MESSAGE_HEAD_BYTES + SESSION_PULL_BYTES);
	uv_timer_init(loop, &l->timer);
	uv_prepare_init(loop, &l->turn);
	uv_idle_init(loop, &l->again);
	l->timer.data = l->turn.data = l->again.data = l;
	uv_prepare_start(&l->turn, on_turn);
	if (!make_context(l)) {
		cli_complain("--ca-file", "TLS cannot be set up", settings->ca_file);
		link_destroy(&l);
		return NULL;
	}
	uv_timer_start(&l->timer, on_timer, 0, 0);
	return l;
}

void link_stop(struct link *l, int64_t most_ms)
{
	if (l->state == LINK_OVER)
		return;
	l->stopping = true;
	if (l->state == LINK_WAITING || l->state == LINK_CONNECTING) {
		over(l, 0);
		return;
	}
	l->kind->drain(l->session);
	uv_timer_start(&l->timer, on_timer, (uint64_t)most_ms, CLOSE_WAIT_S * 1000);
}

static void handle_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;

	if (--l->open_handles > 0)
		return;
	free(l->out);
	free(l);
}

void link_destroy(struct link **lp)
{
	struct link *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	l->stopping = true;
	l->state = l->state == LINK_OVER ? LINK_OVER : LINK_WAITING;
	if (l->context != NULL)
		lws_context_destroy(l->context);
	/* Of a loop that is not its own, libwebsockets 4.1 leaves the second half to a second call, for when
	 * the loop has closed its handles. */
	for (int i = 0; i < CLOSING_TURNS; i++)
		uv_run(l->loop, UV_RUN_NOWAIT);
	if (l->context != NULL)
		lws_context_destroy(l->context);
	if (l->session != NULL)
		l->kind->free(l->session);
	buf_fini(&l->in);
	l->open_handles = 3;
	uv_close((uv_handle_t *)&l->timer, handle_closed);
	uv_close((uv_handle_t *)&l->turn, handle_closed);
	uv_close((uv_handle_t *)&l->again, handle_closed);
}

const char *link_library_version(void)
{
	return lws_get_library_version();
}
