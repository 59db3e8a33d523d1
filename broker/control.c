/* broker/control.c - see control.h. */
#include "broker/control.h"

#include "broker/core/view.h"
#include "common/cli.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* --- responses --- */

/* Takes `body`. */
static void respond(struct httpd_response *out, int status, json_t *body)
{
	CHECK(body != NULL);
	out->status = status;
	out->content_type = "application/json";
	out->body = json_dumps(body, JSON_COMPACT);
	CHECK(out->body != NULL);
	out->body_bytes = strlen(out->body);
	json_decref(body);
}

static void respond_fault(struct httpd_response *out, int status, const char *detail)
{
	respond(out, status, json_pack("{s:s}", "detail", detail));
}

/* Returns the connection id that the request names. NULL: it names none, and `out` says so. */
static const char *require_id(const struct httpd_request *r, struct httpd_response *out)
{
	const char *id = httpd_argument(r, "id");

	if (id != NULL && id_connection_valid(id, strlen(id)))
		return id;
	respond_fault(out, 400, "The argument id is not a connection id.");
	return NULL;
}

/* --- tables --- */

/* Texts of peers are valid UTF-8: they are quoted, or checked ids. A jti may be anything. */
static json_t *text_or_null(const char *text)
{
	json_t *value = *text != '\0' ? json_string(text) : NULL;

	return value != NULL ? value : json_null();
}

static void add_tunnel(void *ctx, const struct tunnel_view *v)
{
	json_t *list = ctx;

	CHECK(json_array_append_new(
		      list,
		      json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, "
				"s:I, s:I, s:I, s:I, s:I}",
				"id", v->id, "tunnel", (json_int_t)v->number, "protocol",
				v->protocol, "state", v->state, "client", text_or_null(v->agent),
				"address", text_or_null(v->address), "sub", v->subject, "jti",
				text_or_null(v->jti), "since",
				(json_int_t)((clock_wall_ms() - v->age_ms) / 1000), "age_ms",
				(json_int_t)v->age_ms, "expires_in_ms",
				(json_int_t)v->expires_in_ms, "rtt_ms", (json_int_t)v->rtt_ms,
				"running", (json_int_t)v->running, "max_running",
				(json_int_t)v->max_running, "websockets", (json_int_t)v->websockets,
				"requests", (json_int_t)v->requests, "in_bytes",
				(json_int_t)v->in_bytes, "out_bytes", (json_int_t)v->out_bytes)) ==
	      0);
}

static json_t *list_tunnels(struct hub *h, const char *id)
{
	json_t *list = json_array();

	view_tunnels(h, id, add_tunnel, list);
	return list;
}

/* Adds to each tunnel how many requests wait for its id. */
static void add_queued(struct hub *h, json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *tunnel = json_array_get(list, i);
		struct id_view id = {0};
		(void)view_id(h, json_string_value(json_object_get(tunnel, "id")), &id);
		CHECK(json_object_set_new(tunnel, "queued_of_id",
					  json_integer((json_int_t)id.queued)) == 0);
	}
}

static void on_tunnels(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;
	const char *id = httpd_argument(r, "id");

	if (id != NULL && (id = require_id(r, out)) == NULL)
		return;
	json_t *list = list_tunnels(c->hub, id);
	add_queued(c->hub, list);
	respond(out, 200, json_pack("{s:o}", "tunnels", list));
}

static void add_exchange(void *ctx, const struct exchange_view *v)
{
	json_t *list = ctx;
	char corr_hex[2 * CORR_BYTES + 1];

	id_to_hex(v->corr, CORR_BYTES, corr_hex);
	CHECK(json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b, s:I, s:I, s:I}", "corr",
						    corr_hex, "state", v->state, "tunnel",
						    (json_int_t)v->tunnel, "websocket",
						    v->websocket, "age_ms", (json_int_t)v->age_ms,
						    "up_bytes", (json_int_t)v->up_bytes,
						    "down_bytes", (json_int_t)v->down_bytes)) == 0);
}

static void on_id(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;
	const char *id = require_id(r, out);
	struct id_view v;

	if (id == NULL)
		return;
	if (!view_id(c->hub, id, &v)) {
		respond_fault(out, 404, "This connection id is not known.");
		return;
	}
	json_t *exchanges = json_array(), *tunnels = list_tunnels(c->hub, id);
	add_queued(c->hub, tunnels);
	view_exchanges(c->hub, id, CONTROL_EXCHANGES_MAX, add_exchange, exchanges);
	respond(out, 200,
		json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:o, s:o}", "id", id, "seen", v.seen,
			  "queued", (json_int_t)v.queued, "running_or_queued",
			  (json_int_t)v.exchanges, "websockets", (json_int_t)v.websockets,
			  "held_bytes", (json_int_t)v.held_bytes, "tunnels", tunnels, "exchanges",
			  exchanges));
}

/* --- commands --- */

static bool has_id(void *ctx, const struct tunnel *t)
{
	return strcmp(tunnel_id(t), ctx) == 0;
}

static void on_kick(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;
	const char *id = require_id(r, out);

	if (id == NULL)
		return;
	size_t closed =
		hub_close_tunnels_if(c->hub, has_id, (void *)id, 1001, "closed by the operator");
	if (closed == 0) {
		respond_fault(out, 404, "This connection id has no tunnel.");
		return;
	}
	log_info("control.kick conn=%s tunnels=%zu", id, closed);
	respond(out, 200, json_pack("{s:I}", "closed", (json_int_t)closed));
}

static bool is_revoked(void *ctx, const struct tunnel *t)
{
	const struct tunnel_grant *g = tunnel_grant_of(t);

	return revocations_have(ctx, g->subject, g->jti, g->issued_s);
}

/* What a request for a revocation says. NULL where it says nothing. */
struct revocation {
	const char *jti, *sub;
	bool has_time;
	int64_t before_s;
};

/* False: `out` says why not. */
static bool read_revocation(const struct httpd_request *r, struct revocation *v,
			    struct httpd_response *out)
{
	const char *before = httpd_argument(r, "issued_before");
	/* All that exist now, those of this second included. */
	*v = (struct revocation){.jti = httpd_argument(r, "jti"),
				 .sub = httpd_argument(r, "sub"),
				 .has_time = before != NULL,
				 .before_s = clock_wall_ms() / 1000 + 1};

	if (before != NULL && !cli_parse_number(before, 1, INT64_C(1) << 40, &v->before_s))
		respond_fault(out, 400, "The argument issued_before is not a Unix time.");
	else if (v->jti != NULL && (*v->jti == '\0' || strlen(v->jti) > REVOCATIONS_NAME_MAX_BYTES))
		respond_fault(out, 400, "The argument jti is empty or too long.");
	else if (v->sub != NULL && !id_connection_valid(v->sub, strlen(v->sub)))
		respond_fault(out, 400, "The argument sub is not a connection id.");
	else if ((v->jti != NULL && (v->sub != NULL || v->has_time)) ||
		 (v->jti == NULL && v->sub == NULL && !v->has_time))
		respond_fault(out, 400,
			      "Name a jti, or a sub with or without issued_before, or "
			      "issued_before.");
	else
		return true;
	return false;
}

static bool add_revocation(struct revocations *list, const struct revocation *v, char *fault,
			   size_t fault_bytes)
{
	if (v->jti != NULL)
		return revocations_add_token(list, v->jti, fault, fault_bytes);
	if (v->sub != NULL)
		return revocations_add_subject(list, v->sub, v->before_s, fault, fault_bytes);
	return revocations_add_all(list, v->before_s, fault, fault_bytes);
}

static void on_revoke(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;
	struct revocation v;
	char fault[CONTROL_FAULT_BYTES] = "", shown[CONTROL_FAULT_BYTES];

	if (!read_revocation(r, &v, out))
		return;
	bool saved = add_revocation(c->revocations, &v, fault, sizeof fault);
	size_t closed =
		hub_close_tunnels_if(c->hub, is_revoked, c->revocations, 1008, "Token revoked");
	const char *what = v.jti ? v.jti : v.sub ? v.sub : "all";
	log_quote(shown, sizeof shown, what, strlen(what));
	log_info("control.revoke by=%s what=\"%s\" tunnels=%zu saved=%d",
		 v.jti	 ? "jti"
		 : v.sub ? "sub"
			 : "time",
		 shown, closed, saved);
	if (!saved)
		log_error("control.revocation_not_saved reason=\"%s\"", fault);
	json_t *body = json_pack("{s:I, s:b}", "closed", (json_int_t)closed, "kept",
				 saved && revocations_are_kept(c->revocations));
	if (!saved)
		CHECK(json_object_set_new(body, "detail", json_string(fault)) == 0);
	respond(out, saved ? 200 : 500, body);
}

static void on_reload(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;
	char fault[CONTROL_FAULT_BYTES];

	(void)r;
	if (c->reload(c->ctx, fault, sizeof fault))
		respond(out, 200, json_pack("{s:b}", "reloaded", 1));
	else
		respond_fault(out, 500, fault);
}

static void on_drain(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;

	(void)r;
	c->drain(c->ctx);
	respond(out, 200, json_pack("{s:b}", "draining", 1));
}

/* --- the log --- */

/* One reader of the log. */
struct control_log {
	struct control_log *next; /* control->logs */
	struct control *control;
	struct httpd_stream *stream;
	char id[CONNECTION_ID_MAX_BYTES + 1]; /* "": all lines */
	uint64_t lost;			      /* lines for which there was no room */
};

/* True if the event (text of log.h) is about that connection id. */
static bool is_about(const char *text, const char *id)
{
	size_t bytes = strlen(id);

	for (const char *at = strstr(text, " conn="); at != NULL; at = strstr(at + 1, " conn=")) {
		const char *end = at + 6 + bytes;
		if (strncmp(at + 6, id, bytes) == 0 && (*end == ' ' || *end == '\0'))
			return true;
	}
	return false;
}

static void put_line(struct control_log *l, const char *line, size_t bytes)
{
	char note[64];

	if (l->lost > 0) {
		int note_bytes = snprintf(note, sizeof note, "warn log.dropped lines=%llu\n",
					  (unsigned long long)l->lost);
		if (!httpd_stream_put(l->stream, note, (size_t)note_bytes)) {
			l->lost++;
			return;
		}
		l->lost = 0;
	}
	if (!httpd_stream_put(l->stream, line, bytes))
		l->lost++;
}

static void on_line(void *ctx, const char *text, const char *line, size_t bytes)
{
	const struct control *c = ctx;

	for (struct control_log *l = c->logs; l != NULL; l = l->next) {
		if (*l->id == '\0' || is_about(text, l->id))
			put_line(l, line, bytes);
	}
}

static void on_log_closed(void *ctx, struct httpd_stream *s)
{
	struct control_log *l = ctx, **at = &l->control->logs;

	(void)s;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (l->control->logs == NULL)
		log_tap(NULL, NULL);
	free(l);
}

static void on_log(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	struct control *c = ctx;
	const char *id = httpd_argument(r, "id");

	if (id != NULL && (id = require_id(r, out)) == NULL)
		return;
	struct control_log *l = xcalloc(1, sizeof *l);
	l->control = c;
	if (id != NULL)
		strcpy(l->id, id);
	l->next = c->logs;
	c->logs = l;
	l->stream = httpd_stream_new(on_log_closed, l);
	out->content_type = "text/plain; charset=utf-8";
	out->stream = l->stream;
	log_tap(on_line, c);
}

const struct httpd_route control_routes[] = {
	{"GET", "/v1/tunnels", on_tunnels}, {"GET", "/v1/id", on_id},
	{"GET", "/v1/log", on_log},	    {"POST", "/v1/kick", on_kick},
	{"POST", "/v1/revoke", on_revoke},  {"POST", "/v1/reload", on_reload},
	{"POST", "/v1/drain", on_drain},    {NULL, NULL, NULL},
};
