/* broker/ws.c - see ws.h. */
#include "broker/ws.h"

#include "broker/handshake.h"
#include "broker/inbox.h"
#include "broker/receive_buffers.h"
#include "broker/tcp.h"
#include "broker/core/tunnel.h"
#include "broker/watch.h"
#include "common/bytes.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/wsframe.h"

#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum {
	RX_BYTES = 64 * 1024,
	RECEIVE_BUFFER_BYTES = RX_BYTES + LWS_PRE + 4, /* as libwebsockets allocates it */
	PIECES_PER_FLUSH = 32,			       /* then other sockets are served */
	DESTROY_TURNS = 4,			       /* for libwebsockets to close its handles */
};

static const char PING_TEXT[] = "pipegate";
static const char V1_NAME[] = "pipegate.v1"; /* never on the wire */

struct ws {
	uv_loop_t *loop;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct hub *hub;
	struct decoder *decoder;
	uint8_t *out;	    /* LWS_PRE and TUNNEL_PULL_BYTES */
	struct watch watch; /* of all sockets */
	/* Set while ws_adopt() runs, because libwebsockets calls back from within it. */
	struct ws_socket *adopting;
	TAILQ_HEAD(, ws_socket) paused; /* until the next turn */
};

/* Our state of one WebSocket: the opaque user data of its struct lws. */
struct ws_socket {
	struct ws *ws;
	struct lws *wsi;
	struct ws_handshake *handshake; /* NULL once established */
	struct tunnel *tunnel;		/* NULL until established, and if the token was refused */
	struct inbox inbox;
	struct watched watched;
	TAILQ_ENTRY(ws_socket) paused_link;
	bool paused;	  /* until the next turn */
	bool over_budget; /* paused by the tunnel: its connection id holds too many bytes */
	bool ping_due;	  /* and not written yet */
	/* An address in its receive buffer, whose content is not needed any more. NULL: the buffer
	 * was not written. */
	const void *stale;
	bool closing; /* send a Close with close_code as soon as possible */
	bool close_sent;
	int close_code;
	const char *close_reason;
	int peer_code; /* of the peer's Close; 0: there was none */
};

/* Sends our Close; the watch limits the wait for the peer's (RFC 6455 7.1.2). We write the frame
 * ourselves, because on an adopted socket libwebsockets 4.1.6 drops the connection instead of
 * sending the reason given to lws_close_reason(). */
static int send_close(struct ws_socket *s)
{
	uint8_t frame[LWS_PRE + WSFRAME_CONTROL_BYTES];

	if (s->close_sent)
		return 0;
	s->close_sent = true;
	size_t bytes = wsframe_write_close(frame + LWS_PRE, s->close_code, s->close_reason);
	return lws_write(s->wsi, frame + LWS_PRE, bytes, LWS_WRITE_RAW) < 0 ? -1 : 0;
}

static int64_t now_ms_of(const struct ws *w)
{
	return (int64_t)uv_now(w->loop);
}

static bool wants_pause(const struct ws_socket *s)
{
	return !s->closing && (s->paused || inbox_is_busy(&s->inbox) || s->over_budget);
}

static void update_reading(struct ws_socket *s)
{
	bool pause = wants_pause(s);

	if (pause == s->watched.paused)
		return;
	(void)lws_rx_flow_control(s->wsi, !pause);
	watch_pause(&s->ws->watch, &s->watched, pause, now_ms_of(s->ws));
}

/* Called when a connection id has used its share of this turn. */
static void pause_until_next_turn(struct ws_socket *s)
{
	if (s->paused)
		return;
	TAILQ_INSERT_TAIL(&s->ws->paused, s, paused_link);
	s->paused = true;
	update_reading(s);
}

static void resume(struct ws_socket *s)
{
	if (s->paused)
		TAILQ_REMOVE(&s->ws->paused, s, paused_link);
	s->paused = false;
}

bool ws_resume_reading(struct ws *w)
{
	bool any = !TAILQ_EMPTY(&w->paused);
	struct ws_socket *s;

	while ((s = TAILQ_FIRST(&w->paused)) != NULL) {
		resume(s);
		update_reading(s);
	}
	return any;
}

static void prepare_close(struct ws_socket *s, int code, const char *reason)
{
	s->closing = true;
	s->close_code = code;
	s->close_reason = reason;
	inbox_drop(&s->inbox);
	update_reading(s);
	lws_callback_on_writable(s->wsi);
}

static void start_closing(struct ws_socket *s, int code, const char *reason)
{
	prepare_close(s, code, reason);
	watch_closing(&s->ws->watch, &s->watched, now_ms_of(s->ws));
}

static void refuse(struct ws_socket *s, enum auth_result result)
{
	prepare_close(s, 1008, auth_reason(result));
	watch_refused(&s->ws->watch, &s->watched, now_ms_of(s->ws));
}

/* --- tunnel_io --- */

static void io_close(void *socket, int code, const char *reason, bool cut)
{
	struct ws_socket *s = socket;

	start_closing(s, code, reason);
	if (cut && (lws_partial_buffered(s->wsi) || send_close(s) == 0))
		watch_cut(&s->ws->watch, &s->watched);
}

static void io_pause(void *socket, bool paused)
{
	struct ws_socket *s = socket;

	s->over_budget = paused;
	update_reading(s);
}

/* Writes until there is nothing left to send or the socket buffer is full. libwebsockets keeps a
 * copy of the unwritten rest of one piece (at most TUNNEL_PULL_BYTES) and calls back once it is
 * written.
 * -1: the connection is broken. */
static int flush(struct ws_socket *s)
{
	struct ws *w = s->ws;
	int kind = tunnel_is_text(s->tunnel) ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;

	for (int i = 0; i < PIECES_PER_FLUSH; i++) {
		bool first, final;
		if (lws_partial_buffered(s->wsi))
			break;
		size_t bytes = tunnel_pull(s->tunnel, w->out + LWS_PRE, &first, &final);
		if (bytes == 0)
			return 0;
		s->watched.written_bytes += (int64_t)bytes;
		if (lws_write(s->wsi, w->out + LWS_PRE, bytes,
			      (enum lws_write_protocol)lws_write_ws_flags(kind, first, final)) < 0)
			return -1;
	}
	lws_callback_on_writable(s->wsi);
	return 0;
}

static void io_flush(void *socket)
{
	struct ws_socket *s = socket;

	if (!s->closing && flush(s) != 0)
		start_closing(s, 1011, "write failed");
}

static const struct tunnel_io tunnel_io = {.flush = io_flush, .close = io_close, .pause = io_pause};

/* --- watch_calls --- */

static struct ws_socket *socket_watched(const struct watched *watched)
{
	return OWNER_OF(watched, struct ws_socket, watched);
}

static void on_alive(struct watched *watched)
{
	struct ws_socket *s = socket_watched(watched);

	/* Not at each Pong, because each costs a system call, and a peer may send many. */
	receive_buffers_wipe(s->stale);
	s->stale = NULL;
	s->ping_due = false;
}

static void on_ping_due(struct watched *watched)
{
	struct ws_socket *s = socket_watched(watched);

	s->ping_due = true;
	lws_callback_on_writable(s->wsi);
}

/* libwebsockets reads the end of the stream and closes the socket. on_receive() drops the input
 * that precedes it. */
static void cut_connection(struct watched *watched)
{
	struct ws_socket *s = socket_watched(watched);

	s->close_sent = s->close_sent || !s->closing;
	s->closing = true;
	update_reading(s);
	shutdown(lws_get_socket_fd(s->wsi), SHUT_RDWR);
}

static bool has_ended(const struct watched *watched)
{
	return tcp_has_ended(lws_get_socket_fd(socket_watched(watched)->wsi));
}

static int64_t unsent_bytes(const struct watched *watched)
{
	return tcp_unsent_bytes(lws_get_socket_fd(socket_watched(watched)->wsi));
}

static const struct watch_calls watch_calls = {.alive = on_alive,
					       .ping = on_ping_due,
					       .cut = cut_connection,
					       .has_ended = has_ended,
					       .unsent_bytes = unsent_bytes};

/* The payload must not be empty: libwebsockets 4.1 and 4.3 do not report an empty Pong. */
static int send_ping(struct ws_socket *s)
{
	uint8_t frame[LWS_PRE + sizeof PING_TEXT - 1];

	if (lws_partial_buffered(s->wsi)) {
		/* Unwritten bytes must go first. */
		lws_callback_on_writable(s->wsi);
		return 0;
	}
	s->ping_due = false;
	watch_ping_sent(&s->watched);
	memcpy(frame + LWS_PRE, PING_TEXT, sizeof PING_TEXT - 1);
	return lws_write(s->wsi, frame + LWS_PRE, sizeof PING_TEXT - 1, LWS_WRITE_PING) < 0 ? -1
											    : 0;
}

void ws_tick(struct ws *w)
{
	watch_tick(&w->watch, now_ms_of(w));
}

/* --- callbacks --- */

static void on_decoded(struct inbox *in)
{
	update_reading(OWNER_OF(in, struct ws_socket, inbox));
}

/* May run within ws_adopt(), where libwebsockets cannot close the socket: so a refusal only
 * prepares the Close. */
static void on_established(struct ws_socket *s)
{
	const struct ws_handshake *k = s->handshake;

	if (k->auth != AUTH_OK) {
		refuse(s, k->auth);
	} else if (hub_is_draining(s->ws->hub)) {
		start_closing(s, 1001, "shutting down");
	} else {
		tcp_set_options(lws_get_socket_fd(s->wsi));
		watch_start(&s->ws->watch, &s->watched, now_ms_of(s->ws));
		const struct tunnel_start start = {
			.protocol = k->v2 ? &protocol_v2 : &protocol_v1,
			.id = k->grant.connection_id,
			.life_ms = k->grant.life_ms,
			.grant = {.subject = k->grant.subject,
				  .jti = k->grant.jti,
				  .issued_s = k->grant.issued_s,
				  .max_running = k->grant.max_running,
				  .max_body_bytes = k->grant.max_body_bytes},
			.io = &tunnel_io,
			.socket = s,
			.address = k->address,
		};
		s->tunnel = hub_open_tunnel(s->ws->hub, &start);
		inbox_init(&s->inbox, s->ws->decoder, s->tunnel, on_decoded);
	}
	free(s->handshake);
	s->handshake = NULL;
}

static void on_receive(struct ws_socket *s, const uint8_t *data, size_t bytes)
{
	bool final = lws_is_final_fragment(s->wsi) && lws_remaining_packet_payload(s->wsi) == 0;

	if (s->closing || s->tunnel == NULL)
		return;
	if (tunnel_spend(s->tunnel, bytes))
		pause_until_next_turn(s);
	inbox_receive(&s->inbox, data, bytes, final);
	update_reading(s);
}

static int on_writable(struct ws_socket *s)
{
	if (s->closing)
		return send_close(s);
	if (s->ping_due && send_ping(s) != 0)
		return -1;
	return s->tunnel != NULL ? flush(s) : 0;
}

static void socket_free(struct ws_socket *s)
{
	inbox_drop(&s->inbox);
	free(s->handshake);
	free(s);
}

static void on_destroyed(struct ws_socket *s)
{
	lws_set_opaque_user_data(s->wsi, NULL);
	resume(s);
	watch_stop(&s->ws->watch, &s->watched);
	if (s->tunnel != NULL)
		tunnel_on_closed(s->tunnel, s->peer_code ? s->peer_code : 1006,
				 s->peer_code ? "closed by the client" : "connection lost");
	socket_free(s);
}

/* Returns our state of this WebSocket, or NULL. The first callbacks of a new one run within
 * ws_adopt(), and libwebsockets resets the opaque pointer after LWS_CALLBACK_WSI_CREATE: so the
 * next callback sets it. */
static struct ws_socket *socket_of(struct lws *wsi, enum lws_callback_reasons reason)
{
	struct ws *w = lws_context_user(lws_get_context(wsi));
	struct ws_socket *s = lws_get_opaque_user_data(wsi);

	if (s == NULL && w->adopting != NULL && reason != LWS_CALLBACK_WSI_CREATE) {
		s = w->adopting;
		w->adopting = NULL;
		s->wsi = wsi;
		lws_set_opaque_user_data(wsi, s);
	}
	return s;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t bytes)
{
	struct ws_socket *s = socket_of(wsi, reason);

	(void)user;
	if (s == NULL)
		return 0;
	hub_set_now(s->ws->hub, now_ms_of(s->ws)); /* the loop may have waited for long */
	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED:
		on_established(s);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		s->watched.received_ms = now_ms_of(s->ws);
		on_receive(s, in, bytes);
		return 0;
	case LWS_CALLBACK_RECEIVE_PONG: /* `in` is in the receive buffer, and was its last use */
		s->watched.received_ms = now_ms_of(s->ws);
		s->stale = in;
		if (s->tunnel != NULL && tunnel_spend(s->tunnel, bytes))
			pause_until_next_turn(s);
		return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		s->peer_code = bytes >= 2 ? get_be16(in) : 1005;
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return on_writable(s);
	case LWS_CALLBACK_WSI_DESTROY: /* always the last one */
		on_destroyed(s);
		return 0;
	default:
		return 0;
	}
}

static void on_library_log(int level, const char *line)
{
	char text[400];

	log_quote(text, sizeof text, line, strcspn(line, "\n"));
	(void)level; /* much of what libwebsockets calls an error is normal for a peer */
	log_debug("websockets.note text=\"%s\"", text);
}

struct ws *ws_new(uv_loop_t *loop, struct hub *hub)
{
	static const struct lws_protocols protocols[] = {
		{V1_NAME, callback, 0, RX_BYTES, 0, NULL, TUNNEL_PULL_BYTES},
		{PIPEGATE_V2_PROTOCOL, callback, 0, RX_BYTES, 0, NULL, TUNNEL_PULL_BYTES},
		{0},
	};
	static const lws_retry_bo_t no_timers = {0}; /* the default is a Ping after 300 s */
	void *loops[1] = {loop};
	struct ws *w = xcalloc(1, sizeof *w);
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.foreign_loops = loops,
		.pt_serv_buf_size = RX_BYTES,
		.user = w,
		.pcontext = &w->context,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
	};

	/* Peers cause most of its messages: do not format what will not be logged. */
	lws_set_log_level(log_verbose ? LLL_ERR | LLL_WARN : 0, on_library_log);
	receive_buffers_init(RECEIVE_BUFFER_BYTES);
	lws_set_allocator(receive_buffers_allocate);
	*w = (struct ws){.loop = loop, .hub = hub, .watch.calls = &watch_calls};
	TAILQ_INIT(&w->paused);
	w->decoder = decoder_new(loop);
	w->out = xmalloc(LWS_PRE + TUNNEL_PULL_BYTES);
	w->context = lws_create_context(&info);
	info.vhost_name = "tunnels";
	info.retry_and_idle_policy = &no_timers;
	w->vhost = w->context ? lws_create_vhost(w->context, &info) : NULL;
	if (w->vhost == NULL) {
		log_error("websockets.start_failed");
		ws_destroy(&w);
	}
	return w;
}

void ws_destroy(struct ws **wp)
{
	struct ws *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	if (w->context != NULL)
		lws_context_destroy(w->context);
	decoder_destroy(&w->decoder);
	/* With a foreign loop, libwebsockets 4.1 needs a second lws_context_destroy(), after the
	 * loop has closed its handles. */
	for (int i = 0; i < DESTROY_TURNS; i++)
		uv_run(w->loop, UV_RUN_NOWAIT);
	if (w->context != NULL)
		lws_context_destroy(w->context);
	receive_buffers_fini();
	watch_fini(&w->watch);
	free(w->out);
	free(w);
}

void ws_adopt(struct ws *w, int fd, struct ws_handshake *handshake)
{
	char head[HANDSHAKE_BYTES];
	size_t head_bytes = handshake_write(head, handshake->key, handshake->v2);
	struct ws_socket *s = xcalloc(1, sizeof *s);

	s->ws = w;
	s->handshake = handshake;
	w->adopting = s;
	struct lws *wsi = lws_adopt_socket_vhost_readbuf(w->vhost, fd, head, head_bytes);
	if (w->adopting == NULL)
		return; /* a callback took it, and may have freed it: see on_destroyed() */
	if (wsi != NULL)
		(void)socket_of(wsi, LWS_CALLBACK_USER);
	else
		socket_free(s);
	w->adopting = NULL;
}

const char *ws_library_version(void)
{
	return lws_get_library_version();
}
