/* common/log.c - see log.h. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool log_verbose;

static void put_line(const char *level, const char *fmt, va_list args)
{
	char line[2048];
	int used = snprintf(line, sizeof line, "%s ", level);
	int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, fmt, args);
	size_t bytes = more < 0 ? (size_t)used : (size_t)used + (size_t)more;

	if (bytes > sizeof line - 2)
		bytes = sizeof line - 2;
	line[bytes++] = '\n';
	if (write(STDERR_FILENO, line, bytes) < 0)
		return; /* nobody listens, and there is nobody to tell */
}

#define DEFINE_LEVEL(level, shown)                                                                 \
	void log_##level(const char *fmt, ...)                                                     \
	{                                                                                          \
		va_list args;                                                                      \
		if (!(shown))                                                                      \
			return;                                                                    \
		va_start(args, fmt);                                                               \
		put_line(#level, fmt, args);                                                       \
		va_end(args);                                                                      \
	}

DEFINE_LEVEL(error, true)
DEFINE_LEVEL(warn, true)
DEFINE_LEVEL(info, true)
DEFINE_LEVEL(debug, log_verbose)

const char *log_quote(char *out, size_t out_bytes, const void *text, size_t text_bytes)
{
	const unsigned char *in = text;
	size_t used = 0;

	for (size_t i = 0; i < text_bytes; i++) {
		bool printable = in[i] >= 0x20 && in[i] < 0x7f;
		bool escaped = in[i] == '\\' || in[i] == '"';
		size_t need_bytes = !printable ? 4 : escaped ? 2 : 1;
		if (used + need_bytes + sizeof "..." > out_bytes) {
			memcpy(out + used, "...", 3);
			used += 3;
			break;
		}
		if (!printable)
			snprintf(out + used, 5, "\\x%02x", in[i]);
		else if (escaped)
			out[used] = '\\';
		if (printable)
			out[used + need_bytes - 1] = (char)in[i];
		used += need_bytes;
	}
	out[used] = '\0';
	return out;
}
