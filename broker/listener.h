/* broker/listener.h - A listening socket for HTTP request heads: accepts, reads one head within
 * bounds and time, asks a handler, then answers and closes, or hands the descriptor on. It keeps
 * strangers away from libwebsockets: bounded in count, bytes and time. The only file that
 * includes http_parser.h. */
#ifndef PIPEGATE_LISTENER_H
#define PIPEGATE_LISTENER_H

#include "common/local_reply.h"
#include "common/buf.h"
#include "common/gate_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum {
	LISTENER_HEAD_MAX_BYTES = 32 * 1024,
	LISTENER_FIELDS_MAX = 256,     /* more than the web servers let through, and add */
	LISTENER_STRANGERS_MAX = 1024, /* connections that are nothing yet; the oldest makes room */
	LISTENER_HEAD_MS = 10000,      /* for the head to come */
};

/* A request head. All text is borrowed, in the raw bytes of the wire, and not NUL-terminated. */
struct listener_text {
	const char *at;
	size_t bytes;
};

struct listener_header {
	struct listener_text name, value;
};

struct listener_request {
	const char *method;	    /* NUL-terminated */
	struct listener_text path;  /* up to '?' */
	struct listener_text query; /* after it */
	bool has_query;
	const struct listener_header *headers;
	size_t header_count;
	int http_minor;		    /* of HTTP/1.x; -1 for others */
	bool connection_upgrade;    /* "upgrade" is among what Connection names */
	struct listener_text extra; /* bytes after the head */
};

/* The first header of that name; bytes 0 where there is none. */
struct listener_text listener_find(const struct listener_request *r, const char *name);

/* Whom an answer of our own is for (common/local_reply.h). Must not be moved; end with
 * listener_asker_fini(). */
struct listener_asker {
	struct local_reply_to to;
	char corr_hex[2 * CORR_BYTES + 1];
	char *accept;
};

void listener_asker_init(struct listener_asker *a, const struct listener_request *r);
void listener_asker_fini(struct listener_asker *a);

struct listener_answer {
	/* A whole response, head and body; freed by the listener. If empty, these:. */
	struct buf whole;
	int status;
	const char *content_type;
	char *body; /* freed by the listener */
	size_t body_bytes;
	/* Instead of an answer: called once the listener has let go of the descriptor, which the
	 * callee then owns. `take_state` is the handler's; so is freeing it. */
	void (*take)(void *ctx, int fd, void *take_state);
	void *take_state;
};

/* Decides about one request: fills `out`. */
typedef void (*listener_fn)(void *ctx, const struct listener_request *r,
			    struct listener_answer *out);

struct listener;

/* `spec` is ADDR:PORT or unix:PATH, `name` the flag and variable for complaints. NULL: one line
 * on stderr has said why. */
struct listener *listener_new(uv_loop_t *loop, const char *spec, const char *name,
			      const char *socket_group, listener_fn handler, void *ctx);
const char *listener_address(const struct listener *l); /* the port that was chosen in it */
void listener_stop(struct listener *l);	     /* accepts nothing more and drops the strangers */
void listener_destroy(struct listener **lp); /* after listener_stop() and a turn of the loop */
size_t listener_strangers(const struct listener *l);

/* Closes connections whose time is over: at least each 250 ms while listener_is_waiting(), and
 * behind the loop's poll, so that what has arrived is read first. */
void listener_tick(struct listener *l);
bool listener_is_waiting(const struct listener *l);

#endif
