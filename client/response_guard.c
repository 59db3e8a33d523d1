/* client/response_guard.c - see response_guard.h. */
#include "client/response_guard.h"

#include "common/http.h"

enum {
	EMPTY_LINES_MAX = 4, /* before a status line */
	SIZE_LINE_MAX_BYTES = 4096,
	TRAILERS_MAX_BYTES = 64 * 1024,
};

void response_guard_enter(struct response_guard *g, enum response_part part)
{
	g->part = part;
	g->line_bytes = 0;
	g->last = '\n';
	g->in_extension = false;
}

void response_guard_start_head(struct response_guard *g)
{
	response_guard_enter(g, PART_HEAD);
	g->has_status = false;
	g->empty_lines = 0;
}

bool response_guard_begins_field(const struct response_guard *g, char c)
{
	return g->part == PART_HEAD && g->has_status && g->line_bytes == 0 && c != '\r' &&
	       c != '\n';
}

/* Checks the status line, "HTTP/1.1 200 OK"; one more blank before the code is accepted. */
static bool status_line_passes(struct response_guard *g, char c)
{
	static const char begin[] = "HTTP/1.";

	if (g->line_bytes == 0 && (c == '\r' || c == '\n')) {
		g->is_sloppy = true;
		return ++g->empty_lines <= EMPTY_LINES_MAX;
	}
	if (g->last == '\r')
		return true; /* its LF */
	if (g->line_bytes < sizeof begin - 1)
		return c == begin[g->line_bytes];
	bool code_begins = g->line_bytes == 9 || (g->line_bytes == 10 && g->last == ' ');
	bool more_blank = g->line_bytes == 9 && c == ' ';
	g->is_sloppy = g->is_sloppy || more_blank;
	return !code_begins || more_blank || (c >= '1' && c <= '5');
}

/* Only an extension may follow the size and a blank. http_parser reads a byte beyond ASCII as the
 * digit 0. */
static bool size_line_passes(struct response_guard *g, char c)
{
	g->in_extension = g->in_extension || c == ';';
	if (g->line_bytes >= SIZE_LINE_MAX_BYTES)
		return false;
	return g->in_extension ||
	       ((unsigned char)c < 0x80 && (g->last != ' ' || c == ' ' || c == '\r'));
}

/* A line that begins with a blank would continue the previous one (RFC 9112 5.2). */
static bool byte_passes(struct response_guard *g, char c)
{
	bool is_end = c == '\r' || c == '\n';

	if ((g->last == '\r' && c != '\n') || (g->last == '\n' && (c == ' ' || c == '\t')) ||
	    (!is_end && !http_value_valid(&c, 1)))
		return false;
	if (c == '\n' && g->last != '\r') {
		g->is_sloppy = true;
		if (g->part != PART_HEAD)
			return false;
	}
	switch (g->part) {
	case PART_HEAD:
		return g->has_status || status_line_passes(g, c);
	case PART_SIZE:
		return size_line_passes(g, c);
	case PART_TRAILERS:
		return g->line_bytes < TRAILERS_MAX_BYTES;
	default: /* PART_DATA_END */
		return is_end;
	}
}

/* Call after a byte that passed. */
static void advance(struct response_guard *g, char c)
{
	bool ends_line = g->part == PART_HEAD && c == '\n';

	g->has_status = g->has_status || (ends_line && g->line_bytes > 1);
	g->line_bytes = ends_line ? 0 : g->line_bytes + 1;
	g->last = c;
}

bool response_guard_passes(struct response_guard *g, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (!byte_passes(g, data[i]))
			return false;
		advance(g, data[i]);
	}
	return true;
}
