/* broker/handshake.c - see handshake.h. */
#include "broker/handshake.h"

#include "common/frame.h"
#include "common/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Fields that may occur once only, even if they are empty: with two, the app and the broker
 * might use different ones. */
enum single { HOST, UPGRADE, KEY, VERSION, AUTHORIZATION, SINGLES };

struct found {
	size_t count[SINGLES];
	struct listener_text value[SINGLES];
	bool upgrade_has_websocket; /* perhaps among other protocols */
	bool declares_body;
};

static bool list_has_websocket(struct listener_text list)
{
	struct head_field rest = {"upgrade", 7, list.at ? list.at : "", list.bytes}, element;

	while (http_list_next(&rest, &element)) {
		if (field_is(&element, "websocket"))
			return true;
	}
	return false;
}

static bool declares_body(const struct head_field *f)
{
	return (field_is(f, "content-length") && !(f->value_bytes == 1 && *f->value == '0')) ||
	       field_is(f, "transfer-encoding");
}

static void find_singles(struct found *x, const struct listener_request *r)
{
	static const char *const names[SINGLES] = {"host", "upgrade", "sec-websocket-key",
						   "sec-websocket-version", "authorization"};

	for (size_t i = 0; i < r->header_count; i++) {
		const struct listener_header *h = &r->headers[i];
		struct head_field f = {h->name.at, h->name.bytes, h->value.at ? h->value.at : "",
				       h->value.bytes};
		x->declares_body = x->declares_body || declares_body(&f);
		for (size_t j = 0; j < SINGLES; j++) {
			if (!field_is(&f, names[j]))
				continue;
			x->count[j]++;
			x->value[j] = h->value;
			x->upgrade_has_websocket = x->upgrade_has_websocket ||
						   (j == UPGRADE && list_has_websocket(h->value));
		}
	}
}

/* True if it is 16 bytes in base64 (RFC 6455 4.1). */
static bool key_is_valid(struct listener_text key)
{
	if (key.bytes != HANDSHAKE_KEY_BYTES || memcmp(key.at + 22, "==", 2) != 0)
		return false;
	for (size_t i = 0; i < 22; i++) {
		unsigned char c = (unsigned char)key.at[i];
		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '+' && c != '/')
			return false;
	}
	return true;
}

static bool version_is_13(struct listener_text version)
{
	return version.bytes == 2 && memcmp(version.at, "13", 2) == 0;
}

enum handshake handshake_classify(const struct listener_request *r)
{
	struct found x = {0};

	find_singles(&x, r);
	if (!x.upgrade_has_websocket && x.count[KEY] == 0 && x.count[VERSION] == 0)
		return HANDSHAKE_NONE;
	for (size_t i = 0; i < SINGLES; i++) {
		/* Web servers join two fields by a comma. None of these may contain a comma
		 * otherwise, except Authorization. */
		if (x.count[i] > 1 || (i != AUTHORIZATION && x.value[i].bytes > 0 &&
				       memchr(x.value[i].at, ',', x.value[i].bytes) != NULL))
			return HANDSHAKE_BAD;
	}
	bool good = !x.declares_body && r->connection_upgrade && r->http_minor >= 1 &&
		    strcmp(r->method, "GET") == 0 && x.value[UPGRADE].bytes == 9 &&
		    strncasecmp(x.value[UPGRADE].at, "websocket", 9) == 0 &&
		    x.value[HOST].bytes > 0 &&
		    http_host_valid(x.value[HOST].at, x.value[HOST].bytes);
	if (good && !version_is_13(x.value[VERSION]))
		return HANDSHAKE_OTHER_VERSION;
	return good && key_is_valid(x.value[KEY]) ? HANDSHAKE_GOOD : HANDSHAKE_BAD;
}

size_t handshake_write(char out[HANDSHAKE_BYTES], const char *key, bool v2)
{
	int bytes = snprintf(out, HANDSHAKE_BYTES,
			     "GET / HTTP/1.1\r\nHost: tunnel\r\nUpgrade: websocket\r\n"
			     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			     "Sec-WebSocket-Key: %s\r\n%s\r\n",
			     key, v2 ? "Sec-WebSocket-Protocol: " PIPEGATE_V2_PROTOCOL "\r\n" : "");

	CHECK(bytes > 0 && bytes < HANDSHAKE_BYTES);
	return (size_t)bytes;
}
