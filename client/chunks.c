/* client/chunks.c - see chunks.h. */
#include "client/chunks.h"

#include "common/http.h"

enum {
	SIZE_LINE_MAX_BYTES = 4096,
	TRAILERS_MAX_BYTES = 64 * 1024,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

static enum chunks_state after_size(char byte)
{
	if (byte == '\r')
		return CHUNKS_SIZE_END;
	if (byte == ';')
		return CHUNKS_EXTENSION;
	return byte == ' ' || byte == '\t' ? CHUNKS_BLANK : CHUNKS_BAD;
}

static enum chunks_state size_byte(struct chunks *c, char byte)
{
	int digit = hex_digit(byte);

	if (digit < 0)
		return c->line_bytes > 1 ? after_size(byte) : CHUNKS_BAD;
	if (c->left_bytes > (uint64_t)(INT64_MAX - 15) / 16)
		return CHUNKS_BAD;
	c->left_bytes = c->left_bytes * 16 + (uint64_t)digit;
	return CHUNKS_SIZE;
}

static enum chunks_state size_ends(struct chunks *c, char byte)
{
	c->line_bytes = 0;
	if (byte != '\n')
		return CHUNKS_BAD;
	return c->left_bytes > 0 ? CHUNKS_DATA : CHUNKS_TRAILER;
}

/* One byte of what is not body: a size line, the CRLF behind a chunk, trailers. */
static enum chunks_state framing_byte(struct chunks *c, char byte)
{
	switch (c->state) {
	case CHUNKS_SIZE:
		return size_byte(c, byte);
	case CHUNKS_BLANK:
		return after_size(byte);
	case CHUNKS_EXTENSION:
		if (byte == '\r')
			return CHUNKS_SIZE_END;
		return http_value_valid(&byte, 1) ? CHUNKS_EXTENSION : CHUNKS_BAD;
	case CHUNKS_SIZE_END:
		return size_ends(c, byte);
	case CHUNKS_DATA_CR:
		return byte == '\r' ? CHUNKS_DATA_LF : CHUNKS_BAD;
	case CHUNKS_DATA_LF:
		c->line_bytes = 0;
		return byte == '\n' ? CHUNKS_SIZE : CHUNKS_BAD;
	case CHUNKS_TRAILER:
		if (byte == '\r')
			return CHUNKS_LAST_LF;
		return http_token_valid(&byte, 1) ? CHUNKS_TRAILER_NAME : CHUNKS_BAD;
	case CHUNKS_TRAILER_NAME:
		if (byte == ':')
			return CHUNKS_TRAILER_VALUE;
		return http_token_valid(&byte, 1) ? CHUNKS_TRAILER_NAME : CHUNKS_BAD;
	case CHUNKS_TRAILER_VALUE:
		if (byte == '\r')
			return CHUNKS_TRAILER_LF;
		return http_value_valid(&byte, 1) ? CHUNKS_TRAILER_VALUE : CHUNKS_BAD;
	case CHUNKS_TRAILER_LF:
		return byte == '\n' ? CHUNKS_TRAILER : CHUNKS_BAD;
	case CHUNKS_LAST_LF:
		return byte == '\n' ? CHUNKS_OVER : CHUNKS_BAD;
	default:
		return CHUNKS_BAD;
	}
}

static size_t line_limit(const struct chunks *c)
{
	return c->state < CHUNKS_DATA ? SIZE_LINE_MAX_BYTES : TRAILERS_MAX_BYTES;
}

size_t chunks_read(struct chunks *c, const char *in, size_t bytes, const char **piece,
		   size_t *piece_bytes)
{
	size_t used = 0;

	*piece = NULL;
	*piece_bytes = 0;
	while (used < bytes && c->state != CHUNKS_DATA && c->state < CHUNKS_OVER) {
		c->line_bytes++;
		c->state = c->line_bytes > line_limit(c) ? CHUNKS_BAD : framing_byte(c, in[used]);
		used++;
	}
	if (c->state != CHUNKS_DATA || used == bytes)
		return used;
	*piece = in + used;
	*piece_bytes = bytes - used < c->left_bytes ? bytes - used : (size_t)c->left_bytes;
	c->left_bytes -= *piece_bytes;
	if (c->left_bytes == 0)
		c->state = CHUNKS_DATA_CR;
	return used + *piece_bytes;
}
