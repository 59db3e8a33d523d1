/* common/destination.c - see destination.h. */
#include "common/destination.h"

#include "common/http.h"

#include <string.h>

bool destination_is_in(const struct head_field *f)
{
	return field_is(f, "destination") || field_is(f, "if");
}

/* A path with "..", however encoded, cannot be said to be below a prefix. */
static bool is_plain(const char *path, size_t bytes)
{
	const char *question = memchr(path, '?', bytes);

	return http_path_is_plain(path, question ? (size_t)(question - path) : bytes);
}

static void put_url(struct buf *out, const struct destination_map *m, const char *url, size_t bytes)
{
	struct place at;
	bool whole = m->from.host_bytes > 0 && place_read(&at, url, bytes) &&
		     at.scheme != SCHEME_LEFT_OUT && place_is_at(&at, &m->from);
	size_t origin_bytes = whole ? at.bytes : 0, skipped = strlen(m->from_prefix);
	const char *path = url + origin_bytes;
	size_t path_bytes = bytes - origin_bytes;

	if (!(whole || place_is_path(url, bytes)) || (path_bytes > 0 && *path != '/') ||
	    !place_is_below(path, path_bytes, m->from_prefix, skipped) ||
	    !is_plain(path, path_bytes)) {
		buf_append(out, url, bytes);
		return;
	}
	/* A path with a second slash after the prefix would become "//host", so it is written with
	 * an origin. */
	bool doubled = *m->to_prefix == '\0' && path_bytes > skipped + 1 && path[skipped] == '/' &&
		       !place_is_path(path + skipped, path_bytes - skipped);
	if (doubled && !whole && *m->to_origin == '\0') {
		buf_append(out, url, bytes);
		return;
	}
	if (whole || doubled)
		buf_append(out, m->to_origin, strlen(m->to_origin));
	buf_append(out, m->to_prefix, strlen(m->to_prefix));
	if (path_bytes == skipped || path[skipped] != '/')
		buf_append(out, "/", 1);
	buf_append(out, path + skipped, path_bytes - skipped);
}

/* If: <URL> (<lock token> ["etag"]) (Not ...) <URL> (...). The parentheses contain no URLs of
 * ours. */
static void put_lists(struct buf *out, const struct destination_map *m, const char *at,
		      const char *end)
{
	bool in_list = false, in_quotes = false;

	while (at < end) {
		const char *stop =
			*at == '<' && !in_quotes ? memchr(at, '>', (size_t)(end - at)) : NULL;
		if (stop != NULL && !in_list) {
			buf_append(out, "<", 1);
			put_url(out, m, at + 1, (size_t)(stop - at) - 1);
			at = stop;
		} else if (stop != NULL) {
			buf_append(out, at, (size_t)(stop - at));
			at = stop;
		} else if (*at == '<' && !in_quotes) { /* no '>' follows */
			buf_append(out, at, (size_t)(end - at));
			return;
		}
		if (*at == '"')
			in_quotes = !in_quotes;
		else if (!in_quotes && (*at == '(' || *at == ')'))
			in_list = *at == '(';
		buf_append(out, at++, 1);
	}
}

void destination_write(struct buf *out, const struct destination_map *m, const struct head_field *f)
{
	if (field_is(f, "if"))
		put_lists(out, m, f->value, f->value + f->value_bytes);
	else
		put_url(out, m, f->value, f->value_bytes);
}
