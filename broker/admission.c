/* broker/admission.c - see admission.h. */
#include "broker/admission.h"

#include "broker/handshake.h"
#include "common/local_reply.h"
#include "common/clock.h"
#include "common/fail.h"
#include "common/frame.h"
#include "common/http.h"
#include "common/log.h"
#include "common/query.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool text_is(struct listener_text t, const char *want)
{
	return t.bytes == strlen(want) && memcmp(t.at, want, t.bytes) == 0;
}

static void refuse(struct listener_response *out, const struct listener_request *r, enum fail f)
{
	struct listener_reply_to reply_to;

	listener_reply_to_init(&reply_to, r);
	local_reply_fail(&out->whole, &reply_to.to, f, false, false);
	listener_reply_to_fini(&reply_to);
}

static void respond_health(struct listener_response *out, const struct listener_request *r,
			   bool good)
{
	struct listener_reply_to reply_to;

	listener_reply_to_init(&reply_to, r);
	local_reply_health(&out->whole, &reply_to.to, good);
	listener_reply_to_fini(&reply_to);
}

static void require_version_13(struct listener_response *out, const struct listener_request *r)
{
	struct listener_reply_to reply_to;

	listener_reply_to_init(&reply_to, r);
	local_reply_bad_request(&out->whole, &reply_to.to, 426, "Sec-WebSocket-Version: 13\r\n");
	listener_reply_to_fini(&reply_to);
}

/* --- tunnels --- */

static char *copy(const char *at, size_t bytes)
{
	return memcpy(xmalloc(bytes + 1), at, bytes);
}

/* Returns the token of "Bearer TOKEN" (RFC 6750 2.1; RFC 9110 11.4 allows more than one space).
 * The caller frees it. NULL: there is none. */
static char *find_bearer(const struct listener_request *r, size_t *bytes)
{
	struct listener_text header = listener_request_find(r, "authorization");
	size_t skipped = 7;

	while (skipped < header.bytes && header.at[skipped] == ' ')
		skipped++;
	if (header.bytes <= skipped || strncasecmp(header.at, "Bearer ", 7) != 0)
		return NULL;
	*bytes = header.bytes - skipped;
	return copy(header.at + skipped, *bytes);
}

struct query_token {
	char *first; /* NULL: none yet */
	size_t bytes;
	const struct config *config; /* NULL: do not compute any_is_ours */
	bool any_is_ours;	     /* one is signed with our secret */
};

static void on_query_pair(void *ctx, const char *key, size_t key_bytes, const char *value,
			  size_t value_bytes)
{
	struct query_token *t = ctx;

	if (key_bytes != 5 || memcmp(key, "token", 5) != 0 || value_bytes == 0)
		return;
	t->any_is_ours =
		t->any_is_ours || (t->config && auth_is_ours(t->config, value, value_bytes));
	if (t->first == NULL) {
		t->first = copy(value, value_bytes);
		t->bytes = value_bytes;
	}
}

/* Returns the first token of the query, with the key in any percent-encoding. The caller frees it.
 * NULL: there is none. */
static char *find_query_token(const struct listener_request *r, size_t *bytes)
{
	struct query_token t = {0};

	if (!query_parse(r->query.at, r->query.bytes, on_query_pair, &t))
		return NULL;
	*bytes = t.bytes;
	return t.first;
}

static enum auth_result authenticate(struct admission *admission, const struct listener_request *r,
				     struct auth_grant *grant)
{
	size_t bytes = 0;
	bool authorized = listener_request_find(r, "authorization").bytes > 0;
	char *token = authorized ? find_bearer(r, &bytes) : find_query_token(r, &bytes);
	enum auth_result result =
		token ? auth_check(admission->config, token, bytes, clock_wall_ms(), grant)
		      : AUTH_MISSING;

	/* Another scheme in Authorization makes the token invalid, not missing. */
	if (token == NULL && authorized)
		result = AUTH_INVALID;
	free(token);
	if (result != AUTH_OK) {
		admission->refused_total++;
		/* Only these have a good signature, so only their id is true. */
		if (result == AUTH_EXPIRED || result == AUTH_EARLY)
			log_limited_info(grant->connection_id,
					 "tunnel.refused reason=\"%s\" conn=%s",
					 auth_reason(result), grant->connection_id);
		else
			log_limited_info(auth_reason(result), "tunnel.refused reason=\"%s\"",
					 auth_reason(result));
	}
	return result;
}

/* True if `name` is an element of the list. Sub-protocols are case-sensitive (RFC 6455 4.1). */
static bool list_has(struct listener_text list, const char *name)
{
	struct head_field rest = {"", 0, list.at ? list.at : "", list.bytes}, element;
	size_t bytes = strlen(name);

	while (http_list_next(&rest, &element)) {
		if (element.name_bytes == bytes && memcmp(element.name, name, bytes) == 0)
			return true;
	}
	return false;
}

static bool offers_v2(const struct listener_request *r)
{
	for (size_t i = 0; i < r->header_count; i++) {
		const struct listener_header *h = &r->headers[i];
		if (h->name.bytes == 22 &&
		    strncasecmp(h->name.at, "sec-websocket-protocol", 22) == 0 &&
		    list_has(h->value, PIPEGATE_V2_PROTOCOL))
			return true;
	}
	return false;
}

static void adopt_tunnel(void *ctx, int fd, void *state)
{
	struct admission *admission = ctx;

	ws_adopt(admission->ws, fd, state);
}

static void open_tunnel(struct admission *admission, const struct listener_request *r,
			struct listener_response *out)
{
	struct listener_text key = listener_request_find(r, "sec-websocket-key");

	/* Before the token is checked, because a refusal would be final for the client. */
	if (hub_is_draining(admission->hub)) {
		refuse(out, r, FAIL_SHUTTING_DOWN);
		return;
	}
	if (r->extra.bytes > 0) {
		refuse(out, r, FAIL_BAD_REQUEST);
		return;
	}
	struct ws_handshake *handshake = xcalloc(1, sizeof *handshake);
	/* handshake_classify() has checked its length. */
	memcpy(handshake->key, key.at, HANDSHAKE_KEY_BYTES);
	handshake->v2 = offers_v2(r);
	handshake->auth = authenticate(admission, r, &handshake->grant);
	out->hand_over = adopt_tunnel;
	out->hand_over_state = handshake;
}

/* --- callers' WebSockets --- */

struct handover {
	struct ws_request *request;
	size_t bytes;
	uint8_t data[]; /* arrived after the head */
};

static void adopt_caller(void *ctx, int fd, void *state)
{
	struct admission *admission = ctx;
	struct handover *h = state;

	ws_relay_begin(admission->ws_relays, fd, h->request, h->data, h->bytes);
	free(h);
}

/* True if a tunnel client has the public URL of a tunnel as its SERVER_URL. Its token must not
 * reach the app of that tunnel. */
static bool is_misdirected_client(const struct config *c, const struct listener_request *r)
{
	size_t bearer_bytes = 0;
	char *bearer = find_bearer(r, &bearer_bytes);
	struct query_token query = {.config = c};
	bool parsed = query_parse(r->query.at, r->query.bytes, on_query_pair, &query);
	bool misdirected = !parsed || offers_v2(r) || query.any_is_ours ||
			   (bearer && auth_is_ours(c, bearer, bearer_bytes));

	free(bearer);
	free(query.first);
	return misdirected;
}

static void refuse_misdirected_client(struct admission *admission, const struct ws_request *request,
				      struct listener_response *out)
{
	static const char detail[] =
		"This is the address of a tunnel. A tunnel client connects to the address of the "
		"server, without the connection id.";

	admission->refused_total++;
	log_limited_info("",
			 "tunnel.refused reason=\"SERVER_URL is the address of a tunnel\" conn=%s",
			 *request->id ? request->id : "-");
	local_reply_refuse(&out->whole, &request->to, detail);
}

static void open_websocket(struct admission *admission, const struct listener_request *r,
			   struct listener_response *out)
{
	struct ws_request *request = ws_request_read(r);

	if (is_misdirected_client(admission->config, r))
		refuse_misdirected_client(admission, request, out);
	else if (request->fail != FAIL_NONE)
		local_reply_fail(&out->whole, &request->to, request->fail, false, false);
	if (buf_bytes(&out->whole) > 0) {
		ws_request_free(request);
		return;
	}
	struct handover *h = xmalloc(sizeof *h + r->extra.bytes);
	h->request = request;
	h->bytes = r->extra.bytes;
	memcpy(h->data, r->extra.at, r->extra.bytes);
	out->hand_over = adopt_caller;
	out->hand_over_state = h;
}

/* --- the handler --- */

void admission_on_request(void *ctx, const struct listener_request *r,
			  struct listener_response *out)
{
	struct admission *admission = ctx;
	bool get = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;

	enum handshake handshake = handshake_classify(r);

	if (handshake == HANDSHAKE_BAD)
		refuse(out, r, FAIL_BAD_REQUEST);
	else if (handshake == HANDSHAKE_OTHER_VERSION)
		require_version_13(out, r);
	else if (handshake == HANDSHAKE_GOOD && text_is(r->path, "/"))
		open_tunnel(admission, r, out);
	else if (handshake == HANDSHAKE_GOOD)
		open_websocket(admission, r, out);
	else if (get && text_is(r->path, "/healthz"))
		respond_health(out, r, !hub_is_draining(admission->hub));
	else
		refuse(out, r, FAIL_NOT_FOUND);
}
