/* client/origin.c - see origin.h. */
#include "client/origin.h"

#include "client/heads.h"
#include "common/http.h"
#include "common/log.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	CONNECT_TIMEOUT_MS = 10000,
	KEPT_CONNECTIONS = 512,
	KEPT_IDLE_S = 1, /* an app that closes idle connections must not do so under a request */
	BUFFER_BYTES = 32 * 1024,
};

struct origin {
	uv_loop_t *loop;
	const struct settings *settings;
	CURLM *multi;
	uv_timer_t timer;
	char *url; /* what libcurl connects to; the request target is set for each request */
	struct fetch *early;   /* see note_early_end() */
	struct fetch *hearing; /* see hear_first() */
};

/* What libcurl's handles carry: a fetch, or a wire. */
struct transfer {
	bool is_wire;
};

/* One socket of libcurl's that it wants watched. */
struct watch {
	uv_poll_t poll;
	struct origin *origin;
	curl_socket_t fd;
	int what; /* CURL_POLL_IN, _OUT */
};

struct fetch {
	struct transfer transfer;
	struct origin *origin;
	CURL *easy;
	struct curl_slist *headers;
	struct request_line line;
	const struct fetch_events *events;
	void *ctx;
	bool begun;  /* a connection was there and the request began to go */
	bool headed; /* the response head is out: what comes now are trailers */
	bool impossible;
	struct head head; /* the lines so far */
	int status;
	bool is_head;
	bool uploading;	      /* the request body has not ended */
	long long left_bytes; /* of the response body, where its length was declared; else -1 */
	bool is_early;
	struct fetch *next_early;
	curl_socket_t fd; /* the one that libcurl waits for */
	bool body_begun, is_hearing;
	struct fetch *next_hearing;
	char error[CURL_ERROR_SIZE];
};

static void on_timer(uv_timer_t *timer);

/* --- the response --- */

static void reset_head(struct fetch *f)
{
	head_clear(&f->head);
	f->status = 0;
}

/* "HTTP/1.1 200 OK" */
static bool take_status_line(struct fetch *f, const char *line, size_t bytes)
{
	const char *at = memchr(line, ' ', bytes);

	reset_head(f);
	if (at == NULL || line + bytes - at < 4)
		return false;
	for (int i = 1; i <= 3; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		f->status = f->status * 10 + at[i] - '0';
	}
	return f->status >= 100 && f->status <= 599;
}

static bool take_field(struct fetch *f, const char *line, size_t bytes)
{
	const char *colon = memchr(line, ':', bytes);

	return colon != NULL && answer_field_add(&f->head, line, (size_t)(colon - line), colon + 1,
						 bytes - (size_t)(colon - line) - 1);
}

/* The app has given its whole answer and has not taken the whole request. libcurl would go on sending, and
 * call it an error when the app closes: but the answer is complete. Ended outside of libcurl's callbacks. */
static void note_early_end(struct fetch *f)
{
	struct origin *o = f->origin;

	if (f->left_bytes != 0 || !f->uploading || f->is_early)
		return;
	f->is_early = true;
	f->next_early = o->early;
	o->early = f;
	uv_timer_start(&o->timer, on_timer, 0, 0);
}

static void read_length(struct fetch *f, const struct head *head)
{
	struct head_field field;

	f->left_bytes = -1;
	if (f->is_head || f->status == 204 || f->status == 304)
		f->left_bytes = 0;
	else if (head_find(head->data, head->bytes, "content-length", &field) &&
		 !http_length_parse(field.value, field.value_bytes, &f->left_bytes))
		f->left_bytes = -1;
}

static void give_head(struct fetch *f)
{
	struct head whole = {0};

	answer_head_make(&whole, f->origin->settings, f->status, &f->head);
	head_fini(&f->head);
	f->headed = true;
	read_length(f, &whole);
	f->events->head(f->ctx, &whole);
	head_fini(&whole);
	note_early_end(f);
}

/* libcurl gives each line of each head: of informational answers, of the final one, then trailers. */
static size_t on_header_line(char *line, size_t size, size_t bytes, void *arg)
{
	struct fetch *f = arg;
	size_t all = size * bytes, length = all;

	while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
		length--;
	if (f->headed)
		return all; /* a trailer: nothing behind us can carry it */
	if (f->status == 0 || (length > 5 && memcmp(line, "HTTP/", 5) == 0))
		f->impossible = !take_status_line(f, line, length);
	else if (length > 0)
		f->impossible = !take_field(f, line, length);
	else if (f->status < 200)
		f->impossible = f->status == 101; /* nobody asked for another protocol */
	else
		give_head(f);
	return f->impossible ? 0 : all;
}

static size_t on_data(char *data, size_t size, size_t bytes, void *arg)
{
	struct fetch *f = arg;

	if (!f->headed) { /* libcurl takes a broken "HTTP/" line for the beginning of a body */
		f->impossible = true;
		return 0;
	}
	if (!f->events->data(f->ctx, data, size * bytes))
		return CURL_WRITEFUNC_PAUSE;
	if (f->left_bytes > 0) {
		f->left_bytes -= (long long)bytes;
		note_early_end(f);
	}
	return size * bytes;
}

/* --- the request --- */

/* Has the app said something that libcurl has not read? */
static bool answer_is_there(struct fetch *f)
{
	char byte;

	return f->fd != CURL_SOCKET_BAD && recv(f->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* An app that answers before it has read the request, and closes, resets the connection: libcurl would meet
 * that when it sends the next piece, and never read the answer. So the answer is read first. */
static bool hear_first(struct fetch *f)
{
	if (!f->body_begun || f->is_hearing || !answer_is_there(f))
		return f->is_hearing;
	f->is_hearing = true;
	f->next_hearing = f->origin->hearing;
	f->origin->hearing = f;
	return true;
}

static size_t on_body(char *out, size_t size, size_t bytes, void *arg)
{
	struct fetch *f = arg;

	if (hear_first(f))
		return CURL_READFUNC_PAUSE;
	f->body_begun = true;
	ssize_t got = f->events->body(f->ctx, out, size * bytes);

	if (got == FETCH_WAIT)
		return CURL_READFUNC_PAUSE;
	if (got == FETCH_END)
		f->uploading = false;
	return got > 0 ? (size_t)got : 0;
}

/* A connection is there, the request goes now. When libcurl finds that a kept connection had died it would
 * send the request once more on a new one; but the app may have read it: no request is sent twice. */
static int on_begin(void *arg, char *to_address, char *from_address, int to_port, int from_port)
{
	struct fetch *f = arg;

	(void)to_address;
	(void)from_address;
	(void)to_port;
	(void)from_port;
	if (f->begun)
		return CURL_PREREQFUNC_ABORT;
	f->begun = true;
	return CURL_PREREQFUNC_OK;
}

static void add_line(struct fetch *f, const char *line)
{
	struct curl_slist *list = curl_slist_append(f->headers, line);

	CHECK(list != NULL);
	f->headers = list;
}

/* "name: value", or "name;" where the value is empty: libcurl's way to say so. */
static void add_header(struct fetch *f, const char *name, size_t name_bytes, const char *value,
		       size_t value_bytes)
{
	char *line = xmalloc(name_bytes + value_bytes + 3);

	memcpy(line, name, name_bytes);
	if (value_bytes == 0) {
		strcpy(line + name_bytes, ";");
	} else {
		memcpy(line + name_bytes, ": ", 2);
		memcpy(line + name_bytes + 2, value, value_bytes);
		line[name_bytes + 2 + value_bytes] = '\0';
	}
	add_line(f, line);
	free(line);
}

/* False: something in it cannot be sent. */
static bool add_headers(struct fetch *f, const void *head, size_t head_bytes)
{
	struct request_fields fields;
	struct head_field field;
	bool accept = false, expect = false;
	int more;

	request_fields_init(&fields, f->origin->settings, head, head_bytes);
	while ((more = request_fields_next(&fields, &field)) == 1) {
		accept = accept || field_is(&field, "accept");
		expect = expect || field_is(&field, "expect");
		add_header(f, field.name, field.name_bytes, field.value, field.value_bytes);
	}
	/* libcurl would add its own. */
	if (!accept)
		add_line(f, "Accept:");
	if (!expect)
		add_line(f, "Expect:");
	return more == 0;
}

static bool set_request_line(struct fetch *f, const void *head, size_t head_bytes)
{
	if (!request_line_read(&f->line, f->origin->settings, head, head_bytes))
		return false;
	f->is_head = strcmp(f->line.method, "HEAD") == 0;
	curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, f->line.method);
	curl_easy_setopt(f->easy, CURLOPT_REQUEST_TARGET, f->line.target);
	return true;
}

/* No length and no body is what a GET has; a length of 0 is said if the caller said it. */
static bool set_body(struct fetch *f, const void *head, size_t head_bytes, enum fetch_body body)
{
	struct head_field field;
	long long length = -1;
	bool declared = head_find(head, head_bytes, ":length", &field);

	if (declared && !http_length_parse(field.value, field.value_bytes, &length))
		return false;
	if (f->is_head) {
		/* A body of a HEAD request means nothing (RFC 9110 9.3.2), and is not sent on. */
		curl_easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
	} else if (length == 0) {
		add_line(f, "Content-Length: 0");
	} else if (body == FETCH_BODY) {
		f->uploading = true;
		curl_easy_setopt(f->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(f->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)length);
		if (!declared)
			add_line(f, "Transfer-Encoding: chunked");
	}
	return true;
}

/* How the local app is connected to. */
static void set_connection_options(struct origin *o, CURL *e)
{
	const struct settings *s = o->settings;

	curl_easy_setopt(e, CURLOPT_URL, o->url);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	if (s->target.unix_path != NULL)
		curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, s->target.unix_path);
	if (s->ca_file != NULL)
		curl_easy_setopt(e, CURLOPT_CAINFO, s->ca_file);
	if (s->insecure) {
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static void set_options(struct fetch *f)
{
	CURL *e = f->easy;

	set_connection_options(f->origin, e);
	curl_easy_setopt(e, CURLOPT_PRIVATE, &f->transfer);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEPT_IDLE_S);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header_line);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(e, CURLOPT_READFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_READDATA, f);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_begin);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, f);
}

static void fetch_free(struct fetch *f)
{
	curl_easy_cleanup(f->easy);
	curl_slist_free_all(f->headers);
	head_fini(&f->head);
	request_line_fini(&f->line);
	free(f);
}

struct fetch *fetch_start(struct origin *o, const void *head, size_t head_bytes,
			  enum fetch_body body, const struct fetch_events *events, void *ctx)
{
	struct fetch *f = xcalloc(1, sizeof *f);

	f->origin = o;
	f->events = events;
	f->ctx = ctx;
	f->fd = CURL_SOCKET_BAD;
	f->easy = curl_easy_init();
	CHECK(f->easy != NULL);
	set_options(f);
	if (!set_request_line(f, head, head_bytes) || !add_headers(f, head, head_bytes) ||
	    !set_body(f, head, head_bytes, body)) {
		fetch_free(f);
		return NULL;
	}
	curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
	CHECK(curl_multi_add_handle(o->multi, f->easy) == CURLM_OK);
	return f;
}

void fetch_resume(struct fetch *f)
{
	curl_easy_pause(f->easy, CURLPAUSE_CONT);
}

static void forget_early(struct fetch *f)
{
	struct fetch **at = &f->origin->early;

	while (*at != NULL && *at != f)
		at = &(*at)->next_early;
	if (*at == f)
		*at = f->next_early;
}

static void forget_hearing(struct fetch *f)
{
	struct fetch **at = &f->origin->hearing;

	while (*at != NULL && *at != f)
		at = &(*at)->next_hearing;
	if (*at == f)
		*at = f->next_hearing;
	f->is_hearing = false;
}

void fetch_cancel(struct fetch **fp)
{
	struct fetch *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	forget_early(f);
	forget_hearing(f);
	curl_multi_remove_handle(f->origin->multi, f->easy);
	fetch_free(f);
}

/* --- ends --- */

static enum fail judge(const struct fetch *f, CURLcode result)
{
	if (f->impossible)
		return FAIL_BAD_RESPONSE;
	if (f->is_early) /* whatever became of the rest of the request */
		return FAIL_NONE;
	if (result == CURLE_OK && f->headed)
		return FAIL_NONE;
	return FAIL_TARGET_UNREACHABLE;
}

static void finish(struct fetch *f, CURLcode result)
{
	enum fail why = judge(f, result);
	const char *text = *f->error ? f->error : curl_easy_strerror(result);

	forget_early(f);
	forget_hearing(f);
	if (why != FAIL_NONE)
		log_info("target.failed result=%d why=\"%s\"", (int)result, text);
	curl_multi_remove_handle(f->origin->multi, f->easy);
	f->events->end(f->ctx, why, f->begun);
	fetch_free(f);
}

/* --- wires --- */

struct wire {
	struct transfer transfer;
	struct origin *origin;
	CURL *easy;
	uv_poll_t poll;
	bool polled; /* `poll` is open */
	int events;
	curl_socket_t fd;
	const struct wire_events *callbacks;
	void *ctx;
};

static void on_wire(uv_poll_t *poll, int status, int events)
{
	struct wire *w = poll->data;

	/* An error shows when it is read. */
	w->callbacks->ready(w->ctx, status < 0 || (events & UV_READABLE),
			    status < 0 || (events & UV_WRITABLE));
}

static void wire_connected(struct wire *w, CURLcode result)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	/* The handle stays with the multi handle: libcurl finds the connection there. */
	if (result == CURLE_OK)
		result = curl_easy_getinfo(w->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (result == CURLE_OK && fd != CURL_SOCKET_BAD &&
	    uv_poll_init_socket(w->origin->loop, &w->poll, fd) == 0) {
		w->polled = true;
		w->fd = fd;
		w->poll.data = w;
		w->callbacks->connected(w->ctx);
	} else {
		log_info("target.failed result=%d why=\"%s\"", (int)result,
			 curl_easy_strerror(result));
		w->callbacks->failed(w->ctx);
	}
}

struct wire *wire_open(struct origin *o, const struct wire_events *callbacks, void *ctx)
{
	struct wire *w = xcalloc(1, sizeof *w);

	w->transfer.is_wire = true;
	w->origin = o;
	w->callbacks = callbacks;
	w->ctx = ctx;
	w->easy = curl_easy_init();
	CHECK(w->easy != NULL);
	set_connection_options(o, w->easy);
	curl_easy_setopt(w->easy, CURLOPT_PRIVATE, &w->transfer);
	curl_easy_setopt(w->easy, CURLOPT_CONNECT_ONLY, 1L);
	CHECK(curl_multi_add_handle(o->multi, w->easy) == CURLM_OK);
	return w;
}

ssize_t wire_read(struct wire *w, void *out, size_t bytes)
{
	size_t got = 0;
	CURLcode result = curl_easy_recv(w->easy, out, bytes, &got);

	if (result == CURLE_AGAIN)
		return WIRE_WAIT;
	if (result != CURLE_OK)
		return WIRE_BROKEN;
	return got > 0 ? (ssize_t)got : WIRE_END;
}

ssize_t wire_write(struct wire *w, const void *data, size_t bytes)
{
	size_t sent = 0;
	CURLcode result = curl_easy_send(w->easy, data, bytes, &sent);

	if (result == CURLE_AGAIN)
		return WIRE_WAIT;
	return result == CURLE_OK ? (ssize_t)sent : WIRE_BROKEN;
}

void wire_watch(struct wire *w, bool read, bool write)
{
	int events = (read ? UV_READABLE : 0) | (write ? UV_WRITABLE : 0);

	if (!w->polled || events == w->events)
		return;
	w->events = events;
	if (events != 0)
		uv_poll_start(&w->poll, events, on_wire);
	else
		uv_poll_stop(&w->poll);
}

bool wire_end_writing(struct wire *w)
{
	/* TLS has its own word for it, which libcurl cannot say. */
	return strncmp(w->origin->url, "https:", 6) != 0 && shutdown(w->fd, SHUT_WR) == 0;
}

static void wire_freed(uv_handle_t *handle)
{
	free(handle->data);
}

void wire_close(struct wire **wp)
{
	struct wire *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	if (w->polled)
		uv_close((uv_handle_t *)&w->poll,
			 wire_freed); /* before libcurl closes the socket */
	curl_multi_remove_handle(w->origin->multi, w->easy);
	curl_easy_cleanup(w->easy);
	if (!w->polled)
		free(w);
}

/* --- what is done --- */

static void finish_those_done(struct origin *o)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(o->multi, &left)) != NULL) {
		struct transfer *t = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		if (t->is_wire)
			wire_connected((struct wire *)t, m->data.result);
		else
			finish((struct fetch *)t, m->data.result);
	}
	while (o->early != NULL)
		finish(o->early, CURLE_OK);
}

/* --- libcurl on libuv --- */

/* What the app said has been read, and it was not the end: the upload goes on. */
static void go_on_sending(struct origin *o)
{
	struct fetch *f, *next;

	for (f = o->hearing; f != NULL; f = next) {
		next = f->next_hearing;
		if (answer_is_there(f))
			continue;
		forget_hearing(f);
		curl_easy_pause(f->easy, CURLPAUSE_CONT);
	}
}

static void act(struct origin *o, curl_socket_t fd, int what)
{
	int running;

	curl_multi_socket_action(o->multi, fd, what, &running);
	finish_those_done(o);
	go_on_sending(o);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct watch *w)
{
	uv_poll_start(&w->poll,
		      ((w->what & CURL_POLL_IN) ? UV_READABLE : 0) |
			      ((w->what & CURL_POLL_OUT) ? UV_WRITABLE : 0),
		      on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	int what = 0;

	if (status < 0) {
		/* libuv has met POLLERR and has stopped to watch. An app that answers early and closes resets
		 * the connection: what it said before is still there, and libcurl shall read it. Once it has
		 * read the end of that it wants to write, and meets the error there. */
		act(w->origin, w->fd,
		    (w->what & CURL_POLL_IN) ? CURL_CSELECT_IN : CURL_CSELECT_OUT);
		if (!uv_is_closing((uv_handle_t *)poll))
			watch(w);
		return;
	}
	if (events & UV_READABLE)
		what |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		what |= CURL_CSELECT_OUT;
	act(w->origin, w->fd, what);
}

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_data)
{
	struct origin *o = arg;
	struct watch *w = socket_data;
	struct transfer *t = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
	if (t != NULL && !t->is_wire)
		((struct fetch *)t)->fd = what == CURL_POLL_REMOVE ? CURL_SOCKET_BAD : fd;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			uv_poll_stop(&w->poll);
			curl_multi_assign(o->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, watch_closed);
		}
		return 0;
	}
	if (w == NULL) {
		w = xcalloc(1, sizeof *w);
		w->origin = o;
		w->fd = fd;
		w->poll.data = w;
		CHECK(uv_poll_init_socket(o->loop, &w->poll, fd) == 0);
		curl_multi_assign(o->multi, fd, w);
	}
	w->what = what;
	watch(w);
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *arg)
{
	struct origin *o = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&o->timer);
	else
		uv_timer_start(&o->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

struct origin *origin_new(uv_loop_t *loop, const struct settings *settings)
{
	struct origin *o = xcalloc(1, sizeof *o);

	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	o->loop = loop;
	o->settings = settings;
	o->url = xmalloc(strlen(settings->target.origin) + 2);
	strcpy(o->url, settings->target.origin);
	strcat(o->url, "/");
	o->multi = curl_multi_init();
	CHECK(o->multi != NULL && uv_timer_init(loop, &o->timer) == 0);
	o->timer.data = o;
	curl_multi_setopt(o->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(o->multi, CURLMOPT_SOCKETDATA, o);
	curl_multi_setopt(o->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	curl_multi_setopt(o->multi, CURLMOPT_TIMERDATA, o);
	curl_multi_setopt(o->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
	return o;
}

static void timer_closed(uv_handle_t *handle)
{
	struct origin *o = handle->data;

	free(o->url);
	free(o);
}

void origin_destroy(struct origin **op)
{
	struct origin *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	curl_multi_cleanup(o->multi);
	curl_global_cleanup();
	uv_close((uv_handle_t *)&o->timer, timer_closed);
}

const struct settings *origin_settings(const struct origin *o)
{
	return o->settings;
}

const char *origin_library_version(void)
{
	return curl_version_info(CURLVERSION_NOW)->version;
}
