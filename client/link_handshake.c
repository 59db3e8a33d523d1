/* client/link_handshake.c - see link_handshake.h.
 *
 * client/response_parser.h parses the response, as it does for an app's response to a handshake. */
#include "client/link_handshake.h"

#include "client/response_parser.h"
#include "client/v1.h"
#include "common/b64.h"
#include "common/frame.h"
#include "common/http_reason.h"
#include "common/id.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NONCE_BYTES = 16,
	RESPONSE_MAX_BYTES = 128 * 1024, /* of all heads and an error's body */
	DETAIL_MAX_BYTES = 4096,	 /* how much of an error's body is examined */
	SHOWN_BYTES = 200,
};

struct link_handshake {
	const struct tunnel_server *server;
	char *key, *accept;
	struct response_parser *parser;
	size_t received_bytes;

	/* From the response head. */
	bool accepted, v2, unknown_protocol, extended;
	char location[SHOWN_BYTES];
	struct buf body; /* of an error */
	char why[2 * SHOWN_BYTES + 100];
};

/* --- request --- */

static char *expected_accept(const char *key)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
	uint8_t digest[SHA_DIGEST_LENGTH];
	char text[64];
	size_t text_bytes;
	int bytes = snprintf(text, sizeof text, "%s%s", key, guid);

	CHECK(bytes > 0 && (size_t)bytes < sizeof text);
	SHA1((const unsigned char *)text, (size_t)bytes, digest);
	return b64_encode(digest, sizeof digest, &text_bytes);
}

static void put(struct buf *out, const char *text)
{
	buf_append(out, text, strlen(text));
}

void link_handshake_write(struct link_handshake *h, struct buf *out)
{
	const struct tunnel_server *s = h->server;

	put(out, "GET ");
	put(out, s->url.path);
	put(out, " HTTP/1.1\r\nHost: ");
	put(out, s->url.authority);
	put(out, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: ");
	put(out, h->key);
	put(out, "\r\nSec-WebSocket-Protocol: " PIPEGATE_V2_PROTOCOL
		 "\r\nUser-Agent: pipegate-client/" PIPEGATE_VERSION "\r\n");
	if (h->server->token != NULL) {
		put(out, "Authorization: Bearer ");
		put(out, h->server->token);
		put(out, "\r\n");
	}
	put(out, "\r\n");
}

/* --- response --- */

static bool equals(const struct head_field *f, const char *text)
{
	return f->value_bytes == strlen(text) && memcmp(f->value, text, f->value_bytes) == 0;
}

/* Shows a text of the server with anything like a token removed; "..." if it contains ours. */
static void show_text(const struct link_handshake *h, char *out, size_t out_bytes, const void *text,
		      size_t bytes)
{
	const char *token = h->server->token;
	char *copy = xcalloc(1, bytes + 1);

	memcpy(copy, text, bytes);
	cli_show(out, out_bytes, token != NULL && strstr(copy, token) != NULL ? "..." : copy);
	free(copy);
}

static void on_head(void *ctx, const struct head *head)
{
	struct link_handshake *h = ctx;
	struct head_field f;

	h->accepted = head_find(head->data, head->bytes, "sec-websocket-accept", &f) &&
		      equals(&f, h->accept);
	if (head_find(head->data, head->bytes, "sec-websocket-protocol", &f)) {
		h->v2 = equals(&f, PIPEGATE_V2_PROTOCOL);
		h->unknown_protocol = !h->v2;
	}
	h->extended = head_find(head->data, head->bytes, "sec-websocket-extensions", &f) &&
		      f.value_bytes > 0;
	if (head_find(head->data, head->bytes, "location", &f))
		show_text(h, h->location, sizeof h->location, f.value, f.value_bytes);
}

static bool on_data(void *ctx, const void *data, size_t bytes)
{
	struct link_handshake *h = ctx;
	size_t room = DETAIL_MAX_BYTES - buf_bytes(&h->body);

	buf_append(&h->body, data, bytes < room ? bytes : room);
	return true;
}

/* --- results --- */

static enum link_handshake_state fail(struct link_handshake *h, const char *why)
{
	snprintf(h->why, sizeof h->why, "%s", why);
	return HANDSHAKE_FAILED;
}

static enum link_handshake_state fail_by_status(struct link_handshake *h)
{
	int status = response_parser_status(h->parser);
	char said[SHOWN_BYTES] = "";
	char *detail = v1_json_text(buf_first(&h->body), buf_bytes(&h->body), "detail");

	if (detail != NULL)
		show_text(h, said, sizeof said, detail, strlen(detail));
	free(detail);
	if (status >= 300 && status < 400 && *h->location != '\0')
		snprintf(h->why, sizeof h->why,
			 "the server responded with HTTP %d %s to %s: redirects are not followed, "
			 "SERVER_URL must be the address of the tunnels",
			 status, http_reason(status), h->location);
	else
		snprintf(h->why, sizeof h->why, "the server responded with HTTP %d %s%s%s", status,
			 http_reason(status), *said ? ": " : "", said);
	return HANDSHAKE_FAILED;
}

static enum link_handshake_state judge_switch(struct link_handshake *h)
{
	if (!h->accepted)
		return fail(h, "the server's Sec-WebSocket-Accept does not match our key: "
			       "it is not a WebSocket server, or a proxy responded");
	if (h->unknown_protocol)
		return fail(h, "the server selected a sub-protocol that was not offered");
	if (h->extended)
		return fail(h, "the server selected an extension that was not offered");
	return HANDSHAKE_DONE;
}

static enum link_handshake_state judge(struct link_handshake *h, enum response_state state)
{
	switch (state) {
	case RESPONSE_SWITCHED:
		return judge_switch(h);
	case RESPONSE_GOING:
		if (response_parser_status(h->parser) != 0 &&
		    buf_bytes(&h->body) >= DETAIL_MAX_BYTES)
			return fail_by_status(h);
		if (h->received_bytes > RESPONSE_MAX_BYTES)
			return fail(h, "the server's response is larger than 128 KiB");
		return HANDSHAKE_GOING;
	case RESPONSE_COMPLETE:
		return fail_by_status(h);
	default:
		if (response_parser_status(h->parser) != 0)
			return fail_by_status(h);
		if (state == RESPONSE_CUT)
			return fail(h, "the server closed the connection without a response");
		snprintf(h->why, sizeof h->why, "the server responded to the handshake with %s",
			 response_parser_fault(h->parser));
		return HANDSHAKE_FAILED;
	}
}

enum link_handshake_state link_handshake_receive(struct link_handshake *h, const void *data,
						 size_t bytes, size_t *used)
{
	enum response_state state = response_parser_feed(h->parser, data, bytes, used);

	h->received_bytes += *used;
	return judge(h, state);
}

enum link_handshake_state link_handshake_end(struct link_handshake *h)
{
	enum response_state state = response_parser_end(h->parser);

	return judge(h, state == RESPONSE_GOING ? RESPONSE_CUT : state);
}

/* --- begin and end --- */

struct link_handshake *link_handshake_new(const struct tunnel_server *server)
{
	struct link_handshake *h = xcalloc(1, sizeof *h);
	uint8_t nonce[NONCE_BYTES];
	size_t key_bytes;

	id_random(nonce, sizeof nonce);
	h->server = server;
	h->key = b64_encode(nonce, sizeof nonce, &key_bytes);
	h->accept = expected_accept(h->key);
	h->parser = response_parser_new(NULL, NULL);
	response_parser_begin(h->parser, RESPONSE_TO_HANDSHAKE,
			      &(struct response_events){on_head, on_data}, h);
	return h;
}

void link_handshake_destroy(struct link_handshake **hp)
{
	struct link_handshake *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	response_parser_destroy(&h->parser);
	buf_fini(&h->body);
	free(h->key);
	free(h->accept);
	free(h);
}

int link_handshake_status(const struct link_handshake *h)
{
	return response_parser_status(h->parser);
}

bool link_handshake_is_v2(const struct link_handshake *h)
{
	return h->v2;
}

const char *link_handshake_why(const struct link_handshake *h)
{
	return h->why;
}
