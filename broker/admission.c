/* broker/admission.c - see admission.h. */
#include "broker/admission.h"

#include "broker/handshake.h"
#include "common/local_reply.h"
#include "common/clock.h"
#include "common/fail.h"
#include "common/frame.h"
#include "common/http.h"
#include "common/id.h"
#include "common/log.h"
#include "common/query.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

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
	char *text = memcpy(xmalloc(bytes + 1), at, bytes);

	text[bytes] = '\0';
	return text;
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

/* What the query of a handshake says; zero at first. */
struct query {
	char *token; /* the first one; NULL: none yet */
	size_t token_bytes;
	char *id; /* of the tunnel, the first one; NULL: none yet */
	size_t id_bytes;
	const struct auth *auth; /* NULL: do not compute any_is_ours */
	bool any_is_ours;	 /* one of the tokens is */
};

static void on_query_pair(void *ctx, const char *key, size_t key_bytes, const char *value,
			  size_t value_bytes)
{
	struct query *q = ctx;

	if (value_bytes == 0)
		return;
	if (key_bytes == 2 && memcmp(key, "id", 2) == 0 && q->id == NULL) {
		q->id = copy(value, value_bytes);
		q->id_bytes = value_bytes;
	}
	if (key_bytes != 5 || memcmp(key, "token", 5) != 0)
		return;
	q->any_is_ours = q->any_is_ours || (q->auth && auth_is_ours(q->auth, value, value_bytes));
	if (q->token == NULL) {
		q->token = copy(value, value_bytes);
		q->token_bytes = value_bytes;
	}
}

/* Reads the first token and the first id, with the keys in any percent-encoding. False: no memory.
 * End with query_fini() in each case. */
static bool query_read(struct query *q, const struct listener_request *r)
{
	return query_parse(r->query.at, r->query.bytes, on_query_pair, q);
}

static void query_fini(struct query *q)
{
	free(q->token);
	free(q->id);
}

static void count_refusal(struct admission *admission, enum stats_refusal why)
{
	admission->refused_total++;
	admission->refused[why]++;
}

static enum stats_refusal refusal_of(enum auth_result result)
{
	static const enum stats_refusal refusals[] = {
		[AUTH_MISSING] = STATS_REFUSED_MISSING, [AUTH_INVALID] = STATS_REFUSED_INVALID,
		[AUTH_EXPIRED] = STATS_REFUSED_EXPIRED, [AUTH_EARLY] = STATS_REFUSED_EARLY,
		[AUTH_REVOKED] = STATS_REFUSED_REVOKED, [AUTH_OTHER_ID] = STATS_REFUSED_OTHER_ID,
	};

	return refusals[result];
}

/* Only with a good signature the id is true. */
static void log_refusal(enum auth_result result, const struct auth_grant *grant)
{
	const char *reason = auth_reason(result);

	if (result == AUTH_MISSING || result == AUTH_INVALID)
		log_limited_info(reason, "tunnel.refused reason=\"%s\"", reason);
	else
		log_limited_info(grant->connection_id, "tunnel.refused reason=\"%s\" conn=%s",
				 reason, grant->connection_id);
}

static enum auth_result authenticate(struct admission *admission, const struct listener_request *r,
				     const struct query *q, struct auth_grant *grant)
{
	size_t bytes = 0;
	bool authorized = listener_request_find(r, "authorization").bytes > 0;
	char *bearer = authorized ? find_bearer(r, &bytes) : NULL;
	const char *token = authorized ? bearer : q->token;
	enum auth_result result = AUTH_MISSING;

	if (token != NULL)
		result = auth_check(admission->auth, token, authorized ? bytes : q->token_bytes,
				    q->id, clock_wall_ms(), grant);
	else if (authorized)
		result = AUTH_INVALID; /* another scheme: not missing */
	free(bearer);
	if (result != AUTH_OK) {
		count_refusal(admission, refusal_of(result));
		log_refusal(result, grant);
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

/* The address that the web server in front has seen: the last element of X-Forwarded-For, because a
 * proxy appends its own. "": there is none. */
static void read_address(const struct listener_request *r, char out[TUNNEL_ADDRESS_BYTES])
{
	struct head_field rest = {"", 0, "", 0}, element;
	unsigned char binary[sizeof(struct in6_addr)];

	*out = '\0';
	for (size_t i = 0; i < r->header_count; i++) {
		const struct listener_header *h = &r->headers[i];
		if (h->name.bytes == 15 && strncasecmp(h->name.at, "x-forwarded-for", 15) == 0)
			rest = (struct head_field){"", 0, h->value.at, h->value.bytes};
	}
	while (http_list_next(&rest, &element)) {
		size_t bytes = element.name_bytes < TUNNEL_ADDRESS_BYTES ? element.name_bytes : 0;
		memcpy(out, element.name, bytes);
		out[bytes] = '\0';
	}
	if (inet_pton(AF_INET, out, binary) != 1 && inet_pton(AF_INET6, out, binary) != 1)
		*out = '\0';
}

static void peer_address(int fd, char out[TUNNEL_ADDRESS_BYTES])
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof address;

	if (getpeername(fd, (struct sockaddr *)&address, &bytes) != 0 ||
	    address.ss_family == AF_UNIX ||
	    getnameinfo((struct sockaddr *)&address, bytes, out, TUNNEL_ADDRESS_BYTES, NULL, 0,
			NI_NUMERICHOST) != 0)
		*out = '\0';
}

static void adopt_tunnel(void *ctx, int fd, void *state)
{
	struct admission *admission = ctx;
	struct ws_handshake *handshake = state;

	if (*handshake->address == '\0')
		peer_address(fd, handshake->address);
	ws_adopt(admission->ws, fd, handshake);
}

/* The client must not try again (contract section 1), so this is a 403 and no WebSocket. */
static void refuse_other_id(const struct listener_request *r, struct listener_response *out)
{
	struct listener_reply_to reply_to;

	listener_reply_to_init(&reply_to, r);
	local_reply_refuse(&out->whole, &reply_to.to, 403,
			   "The token is for another connection id.");
	listener_reply_to_fini(&reply_to);
}

static void open_tunnel_for(struct admission *admission, const struct listener_request *r,
			    const struct query *q, struct listener_response *out)
{
	struct listener_text key = listener_request_find(r, "sec-websocket-key");
	struct ws_handshake *handshake = xcalloc(1, sizeof *handshake);

	/* handshake_classify() has checked its length. */
	memcpy(handshake->key, key.at, HANDSHAKE_KEY_BYTES);
	handshake->v2 = offers_v2(r);
	read_address(r, handshake->address);
	handshake->auth = authenticate(admission, r, q, &handshake->grant);
	if (handshake->auth == AUTH_OTHER_ID) {
		refuse_other_id(r, out);
		free(handshake);
		return;
	}
	out->hand_over = adopt_tunnel;
	out->hand_over_state = handshake;
}

static void open_tunnel(struct admission *admission, const struct listener_request *r,
			struct listener_response *out)
{
	struct query q = {0};

	/* Before the token is checked, because a refusal would be final for the client. */
	if (hub_is_draining(admission->hub)) {
		refuse(out, r, FAIL_SHUTTING_DOWN);
		return;
	}
	if (r->extra.bytes > 0) {
		refuse(out, r, FAIL_BAD_REQUEST);
		return;
	}
	if (!query_read(&q, r) || (q.id != NULL && !id_connection_valid(q.id, q.id_bytes)))
		refuse(out, r, FAIL_BAD_REQUEST);
	else
		open_tunnel_for(admission, r, &q, out);
	query_fini(&q);
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
static bool is_misdirected_client(const struct auth *auth, const struct listener_request *r)
{
	size_t bearer_bytes = 0;
	char *bearer = find_bearer(r, &bearer_bytes);
	struct query q = {.auth = auth};
	bool parsed = query_read(&q, r);
	bool misdirected = !parsed || offers_v2(r) || q.any_is_ours ||
			   (bearer && auth_is_ours(auth, bearer, bearer_bytes));

	free(bearer);
	query_fini(&q);
	return misdirected;
}

static void refuse_misdirected_client(struct admission *admission, const struct ws_request *request,
				      struct listener_response *out)
{
	static const char detail[] =
		"This is the address of a tunnel. A tunnel client connects to the address of the "
		"server, without the connection id.";

	count_refusal(admission, STATS_REFUSED_ADDRESS);
	log_limited_info("",
			 "tunnel.refused reason=\"SERVER_URL is the address of a tunnel\" conn=%s",
			 *request->id ? request->id : "-");
	local_reply_refuse(&out->whole, &request->to, 400, detail);
}

static void open_websocket(struct admission *admission, const struct listener_request *r,
			   struct listener_response *out)
{
	struct ws_request *request = ws_request_read(r);

	if (is_misdirected_client(admission->auth, r))
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
