/* common/access_log.c - see access_log.h. Without printf: this runs for each request. */
#include "common/access_log.h"

#include "common/check.h"
#include "common/head.h"
#include "common/log.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	LINE_BYTES = 2048,
	QUOTED_BYTES = 4, /* for one quoted byte, at most */
};

struct access_log_request {
	size_t method_bytes, path_bytes;
	bool method_cut, path_cut;
	char bytes[]; /* the method, then the path */
};

/* The query and a fragment may contain secrets. Clients send no fragment, but a peer may. */
static size_t path_length(const char *target, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (target[i] == '?' || target[i] == '#')
			return i;
	}
	return bytes;
}

struct access_log_request *access_log_request(const void *method, size_t method_bytes,
					      const void *target, size_t target_bytes)
{
	struct access_log_request *r;

	if (log_mode == LOG_QUIET)
		return NULL;
	size_t path_bytes = path_length(target, target_bytes);
	bool method_cut = method_bytes > ACCESS_LOG_METHOD_BYTES;
	bool path_cut = path_bytes > ACCESS_LOG_PATH_BYTES;

	if (method_cut)
		method_bytes = ACCESS_LOG_METHOD_BYTES;
	if (path_cut)
		path_bytes = ACCESS_LOG_PATH_BYTES;
	r = xmalloc(sizeof *r + method_bytes + path_bytes);
	*r = (struct access_log_request){method_bytes, path_bytes, method_cut, path_cut};
	if (method_bytes > 0)
		memcpy(r->bytes, method, method_bytes);
	if (path_bytes > 0)
		memcpy(r->bytes + method_bytes, target, path_bytes);
	return r;
}

struct access_log_request *access_log_request_of(const void *head, size_t head_bytes)
{
	struct head_field method = {0}, target = {0};

	if (log_mode == LOG_QUIET)
		return NULL;
	(void)head_find(head, head_bytes, ":method", &method);
	(void)head_find(head, head_bytes, ":target", &target);
	return access_log_request(method.value, method.value_bytes, target.value,
				  target.value_bytes);
}

/* --- the line: every part is bounded, so that the whole fits into LINE_BYTES --- */

struct line {
	char text[LINE_BYTES];
	size_t used;
};

static void put_bytes(struct line *l, const char *bytes, size_t count)
{
	CHECK(count < sizeof l->text - l->used);
	memcpy(l->text + l->used, bytes, count);
	l->used += count;
}

static void put_text(struct line *l, const char *key, const char *text)
{
	put_bytes(l, key, strlen(key));
	put_bytes(l, text, strlen(text));
}

static void put_number(struct line *l, const char *key, int64_t value)
{
	char digits[24];
	size_t at = sizeof digits;
	uint64_t rest = value > 0 ? (uint64_t)value : 0;

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	put_bytes(l, " ", 1);
	put_bytes(l, key, strlen(key));
	put_bytes(l, "=", 1);
	put_bytes(l, digits + at, sizeof digits - at);
}

static void put_quoted(struct line *l, const char *key, const char *bytes, size_t count, bool cut)
{
	char quoted[QUOTED_BYTES * ACCESS_LOG_PATH_BYTES + sizeof "..."];

	log_quote(quoted, sizeof quoted, bytes, count);
	put_text(l, key, quoted);
	put_text(l, cut ? "..." : "", "\"");
}

/* Writes a connection or correlation id. Both are short and consist of letters, digits, '-' and
 * '_', so they need no quotes. */
static void put_id(struct line *l, const char *key, const char *id)
{
	bool none = id == NULL || *id == '\0' || strlen(id) > LOG_WHO_MAX_BYTES;

	put_text(l, key, none ? "-" : id);
}

/* Returns whether a caller can cause the failure without any tunnel of the operator's. */
static bool is_by_anybody(enum fail f)
{
	return f == FAIL_NOT_FOUND || f == FAIL_TUNNEL_UNKNOWN || f == FAIL_BAD_PATH ||
	       f == FAIL_BAD_REQUEST;
}

void access_log_put(const struct access_log_line *l)
{
	const struct access_log_request *r = l->request;
	bool by_anybody = is_by_anybody(l->fail);
	struct line line;
	uint64_t suppressed;

	if (r == NULL)
		return;
	const char *who = by_anybody ? fail_code(l->fail) : l->conn != NULL ? l->conn : "";
	if (!log_request_passes(who, by_anybody, &suppressed))
		return;
	line.used = 0;
	put_id(&line, "request.done conn=", l->conn);
	put_id(&line, " corr=", l->corr);
	put_quoted(&line, " method=\"", r->bytes, r->method_bytes, r->method_cut);
	put_quoted(&line, " path=\"", r->bytes + r->method_bytes, r->path_bytes, r->path_cut);
	put_number(&line, "status", l->status);
	if (l->fail != FAIL_NONE) {
		put_text(&line, " code=", fail_code(l->fail));
		if (l->delivered != NULL)
			put_text(&line, " delivered=", l->delivered);
	}
	put_number(&line, "up_bytes", l->up_bytes);
	put_number(&line, "down_bytes", l->down_bytes);
	for (size_t i = 0; i < ACCESS_LOG_NUMBERS && l->numbers[i].name != NULL; i++) {
		if (l->numbers[i].value >= 0)
			put_number(&line, l->numbers[i].name, l->numbers[i].value);
	}
	line.text[line.used] = '\0';
	log_request(line.text, suppressed);
}
