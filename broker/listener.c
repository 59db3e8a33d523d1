/* broker/listener.c - see listener.h. */
#include "broker/listener.h"

#include "broker/config.h"
#include "common/socket_claim.h"
#include "common/endpoint.h"
#include "common/id.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 511,
	ACCEPTS_PER_TURN = 64,
	LINGER_MS = 2000,	   /* for the peer to take the answer */
	RESERVED_DESCRIPTORS = 64, /* kept for the gate, the log and those who are in already */
};

struct stranger {
	TAILQ_ENTRY(stranger) link;
	uv_poll_t poll;
	struct listener *listener;
	int fd;
	uint64_t until_ms;
	bool answered; /* waits for the peer to close */
	void (*take)(void *ctx, int fd, void *take_state);
	void *take_state;
	char *head; /* LISTENER_HEAD_MAX_BYTES, once something came */
	size_t head_bytes;
};

struct listener {
	uv_loop_t *loop;
	int fd;
	char *unix_path;
	char shown[ENDPOINT_TEXT_BYTES];
	uv_poll_t poll;
	bool paused, stopped;
	bool poll_closed; /* before the memory goes */
	listener_fn handler;
	void *ctx;
	TAILQ_HEAD(, stranger) strangers; /* the oldest first */
	size_t count;
	int descriptor_bound;
};

/* --- the parsed head --- */

struct parsed {
	struct listener_request request;
	struct listener_text url;
	struct listener_header headers[LISTENER_FIELDS_MAX];
	bool too_many, in_value, whole;
};

static struct parsed *parsed_of(http_parser *p)
{
	return p->data;
}

static void extend(struct listener_text *t, const char *at, size_t bytes)
{
	if (t->bytes == 0)
		t->at = at;
	t->bytes += bytes;
}

static int on_url(http_parser *p, const char *at, size_t bytes)
{
	extend(&parsed_of(p)->url, at, bytes);
	return 0;
}

static int on_header_field(http_parser *p, const char *at, size_t bytes)
{
	struct parsed *x = parsed_of(p);

	if (x->request.header_count == 0 || x->in_value) {
		if (x->request.header_count == LISTENER_FIELDS_MAX) {
			x->too_many = true;
			return 1;
		}
		x->request.header_count++;
	}
	x->in_value = false;
	extend(&x->headers[x->request.header_count - 1].name, at, bytes);
	return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t bytes)
{
	struct parsed *x = parsed_of(p);
	struct listener_text *value = &x->headers[x->request.header_count - 1].value;

	if (value->bytes > 0 && at != value->at + value->bytes)
		return 1; /* an obsolete line folding, and not in one piece (RFC 9112 5.2) */
	x->in_value = true;
	extend(value, at, bytes);
	return 0;
}

static int on_headers_complete(http_parser *p)
{
	parsed_of(p)->whole = true;
	return 2; /* no body is wanted, whatever the headers say */
}

struct listener_text listener_find(const struct listener_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++) {
		const struct listener_header *h = &r->headers[i];
		if (h->name.bytes == strlen(name) && h->value.bytes > 0 &&
		    strncasecmp(h->name.at, name, h->name.bytes) == 0)
			return h->value;
	}
	return (struct listener_text){"", 0};
}

/* 0, or the HTTP status that refuses it: then the request is what could be read of it. */
static int parse_head(const char *text, size_t bytes, struct parsed *x)
{
	static const http_parser_settings settings = {
		.on_url = on_url,
		.on_header_field = on_header_field,
		.on_header_value = on_header_value,
		.on_headers_complete = on_headers_complete,
	};
	http_parser parser;

	*x = (struct parsed){0};
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = x;
	size_t used = http_parser_execute(&parser, &settings, text, bytes);
	struct listener_request *r = &x->request;
	r->method = http_method_str((enum http_method)parser.method);
	r->headers = x->headers;
	if (x->too_many || (!x->whole && bytes == LISTENER_HEAD_MAX_BYTES))
		return 431;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || x->url.bytes == 0)
		return 400;
	const char *question = memchr(x->url.at, '?', x->url.bytes);
	size_t path_bytes = question ? (size_t)(question - x->url.at) : x->url.bytes;
	r->path = (struct listener_text){x->url.at, path_bytes};
	/* "/./x" is "/x" to everybody. lighttpd is told to write it so, see
	 * conf/lighttpd/pipegate.conf. */
	if (path_bytes >= 3 && memcmp(r->path.at, "/./", 3) == 0) {
		r->path.at += 2;
		r->path.bytes -= 2;
	}
	r->query = question ? (struct listener_text){question + 1, x->url.bytes - path_bytes - 1}
			    : (struct listener_text){"", 0};
	r->has_query = question != NULL;
	r->connection_upgrade = (parser.flags & F_CONNECTION_UPGRADE) != 0;
	r->http_minor = parser.http_major == 1 ? (int)parser.http_minor : -1;
	r->extra = (struct listener_text){text + used, bytes - used};
	return 0;
}

/* --- strangers --- */

static void stranger_closed(uv_handle_t *handle)
{
	struct stranger *s = handle->data;

	if (s->take != NULL)
		s->take(s->listener->ctx, s->fd, s->take_state);
	else
		close(s->fd);
	free(s->head);
	free(s);
}

static void stranger_end(struct stranger *s)
{
	struct listener *l = s->listener;

	TAILQ_REMOVE(&l->strangers, s, link);
	l->count--;
	uv_poll_stop(&s->poll);
	uv_close((uv_handle_t *)&s->poll, stranger_closed);
}

static const char *reason_phrase(int status)
{
	const char *text = http_status_str((enum http_status)status);

	return strcmp(text, "<unknown>") == 0 ? "Error" : text;
}

static void compose(struct listener_answer *a)
{
	char head[640];
	int head_bytes = snprintf(head, sizeof head,
				  "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				  "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
				  a->status, reason_phrase(a->status),
				  a->content_type ? a->content_type : "text/plain", a->body_bytes);

	buf_append(&a->whole, head, (size_t)head_bytes);
	buf_append(&a->whole, a->body, a->body_bytes);
}

static void answer(struct stranger *s, struct listener_answer *a)
{
	if (buf_bytes(&a->whole) == 0)
		compose(a);
	/* An answer is smaller than any socket buffer; a peer that filled it before gets less. */
	(void)!send(s->fd, buf_first(&a->whole), buf_bytes(&a->whole), MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_fini(&a->whole);
	shutdown(s->fd, SHUT_WR);
	s->answered = true;
	s->until_ms = uv_now(s->listener->loop) + LINGER_MS;
}

void listener_asker_init(struct listener_asker *a, const struct listener_request *r)
{
	struct listener_text accept = listener_find(r, "accept");
	uint8_t corr[CORR_BYTES];

	id_random(corr, sizeof corr);
	id_to_hex(corr, sizeof corr, a->corr_hex);
	a->accept = strndup(accept.at, accept.bytes);
	CHECK(a->accept != NULL);
	a->to = (struct local_reply_to){"HTTP/1.1", a->corr_hex, a->accept,
					strcmp(r->method, "HEAD") == 0};
}

void listener_asker_fini(struct listener_asker *a)
{
	free(a->accept);
}

static void refuse(struct stranger *s, const struct listener_request *r, int status)
{
	struct listener_asker asker;
	struct listener_answer a = {0};

	listener_asker_init(&asker, r);
	local_reply_bad_request(&a.whole, &asker.to, status, "");
	listener_asker_fini(&asker);
	answer(s, &a);
}

static void judge(struct stranger *s)
{
	struct listener *l = s->listener;
	struct listener_answer a = {.status = 404};
	struct parsed x;
	int status = parse_head(s->head, s->head_bytes, &x);

	if (status != 0) {
		refuse(s, &x.request, status);
		return;
	}
	l->handler(l->ctx, &x.request, &a);
	if (a.take != NULL) {
		s->take = a.take;
		s->take_state = a.take_state;
		stranger_end(s);
	} else {
		answer(s, &a);
	}
	free(a.body);
}

static void throw_away(struct stranger *s)
{
	char trash[4096];

	if (recv(s->fd, trash, sizeof trash, MSG_DONTWAIT) == 0)
		stranger_end(s);
}

static void on_stranger(uv_poll_t *poll, int status, int events)
{
	struct stranger *s = poll->data;

	(void)events;
	if (status < 0) {
		stranger_end(s);
		return;
	}
	if (s->answered) {
		throw_away(s);
		return;
	}
	if (s->head == NULL)
		s->head = xmalloc(LISTENER_HEAD_MAX_BYTES);
	ssize_t got = recv(s->fd, s->head + s->head_bytes, LISTENER_HEAD_MAX_BYTES - s->head_bytes,
			   MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		stranger_end(s);
		return;
	}
	/* Only what is new is searched: a head may come byte by byte. */
	size_t from = s->head_bytes < 3 ? 0 : s->head_bytes - 3;
	s->head_bytes += (size_t)got;
	if (s->head_bytes == LISTENER_HEAD_MAX_BYTES ||
	    memmem(s->head + from, s->head_bytes - from, "\r\n\r\n", 4) != NULL)
		judge(s);
}

/* --- the listening socket --- */

static void welcome(struct listener *l, int fd)
{
	if (fd >= l->descriptor_bound) {
		log_seldom_warn("listener.no_descriptors connections=%zu", l->count);
		close(fd);
		return;
	}
	if (l->count >= LISTENER_STRANGERS_MAX) {
		log_seldom_warn("listener.too_many_strangers connections=%zu", l->count);
		stranger_end(TAILQ_FIRST(&l->strangers));
	}
	struct stranger *s = xcalloc(1, sizeof *s);
	s->listener = l;
	s->fd = fd;
	s->until_ms = uv_now(l->loop) + LISTENER_HEAD_MS;
	if (uv_poll_init(l->loop, &s->poll, fd) != 0) {
		close(fd);
		free(s);
		return;
	}
	s->poll.data = s;
	TAILQ_INSERT_TAIL(&l->strangers, s, link);
	l->count++;
	uv_poll_start(&s->poll, UV_READABLE, on_stranger);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* It would be readable at once again: look after the next tick. */
			log_seldom_warn("listener.no_descriptors connections=%zu", l->count);
			uv_poll_stop(&l->poll);
			l->paused = true;
		}
		break;
	}
}

bool listener_is_waiting(const struct listener *l)
{
	return l->count > 0 || l->paused;
}

void listener_tick(struct listener *l)
{
	struct stranger *s, *next;

	if (l->stopped)
		return;
	for (s = TAILQ_FIRST(&l->strangers); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->until_ms > uv_now(l->loop))
			continue;
		if (!s->answered)
			log_seldom_warn("listener.no_request_in_time connections=%zu", l->count);
		stranger_end(s);
	}
	if (l->paused) {
		l->paused = false;
		uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
	}
}

static int descriptor_bound(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1 << 20)
		return 1 << 20;
	return (int)limit.rlim_cur - RESERVED_DESCRIPTORS;
}

static int open_socket(struct listener *l, const char *spec, const char *name,
		       const char *socket_group)
{
	char why[160];

	l->fd = endpoint_listen(spec, socket_group, BACKLOG, why, sizeof why);
	if (l->fd < 0)
		return cli_complain(name, why, spec);
	CHECK(fcntl(l->fd, F_SETFL, O_NONBLOCK) == 0);
	if (strncmp(spec, "unix:", 5) == 0)
		l->unix_path = xstrdup(spec + 5);
	endpoint_show(l->fd, spec, l->shown);
	return 0;
}

struct listener *listener_new(uv_loop_t *loop, const char *spec, const char *name,
			      const char *socket_group, listener_fn handler, void *ctx)
{
	struct listener *l = xcalloc(1, sizeof *l);

	l->loop = loop;
	l->handler = handler;
	l->ctx = ctx;
	l->descriptor_bound = descriptor_bound();
	TAILQ_INIT(&l->strangers);
	if (open_socket(l, spec, name, socket_group) != 0) {
		free(l);
		return NULL;
	}
	CHECK(uv_poll_init(loop, &l->poll, l->fd) == 0);
	l->poll.data = l;
	uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
	return l;
}

const char *listener_address(const struct listener *l)
{
	return l->shown;
}

static void handle_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	l->poll_closed = true;
}

void listener_stop(struct listener *l)
{
	if (l == NULL || l->stopped)
		return;
	l->stopped = true;
	while (!TAILQ_EMPTY(&l->strangers))
		stranger_end(TAILQ_FIRST(&l->strangers));
	uv_close((uv_handle_t *)&l->poll, handle_closed);
	if (l->unix_path != NULL)
		unlink(l->unix_path); /* while the socket is still ours */
	close(l->fd);
}

void listener_destroy(struct listener **lp)
{
	struct listener *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	CHECK(l->stopped && l->poll_closed);
	free(l->unix_path);
	free(l);
}

size_t listener_strangers(const struct listener *l)
{
	return l->count;
}
