/* common/log.c - see log.h. */
#include "common/log.h"

#include "common/clock.h"
#include "common/log_json.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	TEXT_BYTES = 2048, /* of a line, without its level; what is longer is cut */
	JSON_BYTES = 3 * TEXT_BYTES,
};

bool log_verbose;
enum log_mode log_mode;

bool log_mode_from_text(const char *text)
{
	static const char *const names[] = {
		[LOG_TEXT] = "text", [LOG_JSON] = "json", [LOG_QUIET] = "quiet"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(text, names[i]) == 0) {
			log_mode = (enum log_mode)i;
			return true;
		}
	}
	return false;
}

/* --- lines --- */

static size_t append(char *out, size_t used, const char *text)
{
	size_t bytes = strlen(text);

	memcpy(out + used, text, bytes);
	return used + bytes;
}

static size_t as_text(char *out, const char *level, const char *text, uint64_t suppressed)
{
	size_t used = append(out, append(out, append(out, 0, level), " "), text);

	if (suppressed > 0)
		used += (size_t)sprintf(out + used, " suppressed=%llu",
					(unsigned long long)suppressed);
	return used;
}

/* A file always accepts a line; a pipe, a socket or a terminal may have no room for one now. */
static bool can_write(void)
{
	enum { UNKNOWN, FILE_KIND, OTHER_KIND };
	static _Atomic int kind = UNKNOWN;
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	struct stat status;

	if (kind == UNKNOWN)
		kind = fstat(STDERR_FILENO, &status) == 0 && S_ISREG(status.st_mode) ? FILE_KIND
										     : OTHER_KIND;
	return kind == FILE_KIND || (poll(&p, 1, 0) > 0 && (p.revents & POLLOUT));
}

static bool write_out(const char *lines, size_t bytes)
{
	if (!can_write())
		return false;
	(void)!write(STDERR_FILENO, lines,
		     bytes); /* if stderr is gone, there is nowhere to report it */
	return true;
}

/* Makes the line for an event. `suppressed`: lines like this one that were left out before it. */
static size_t make_line(char line[JSON_BYTES], const char *level, const char *text,
			uint64_t suppressed)
{
	size_t bytes = log_mode == LOG_JSON
			       ? log_json_write(line, JSON_BYTES - 1, level, text, suppressed)
			       : as_text(line, level, text, suppressed);

	line[bytes++] = '\n';
	return bytes;
}

static _Atomic uint64_t dropped; /* lines, since the last log.dropped */

/* Writes `count` lines, and first how many lines were dropped before them. */
static void put_lines(const char *lines, size_t bytes, uint64_t count)
{
	uint64_t lost = dropped > 0 ? atomic_exchange(&dropped, 0) : 0;

	if (lost > 0) {
		char note[64], line[JSON_BYTES];
		snprintf(note, sizeof note, "log.dropped lines=%llu", (unsigned long long)lost);
		if (!write_out(line, make_line(line, "warn", note, 0))) {
			atomic_fetch_add(&dropped, lost + count);
			return;
		}
	}
	if (!write_out(lines, bytes))
		atomic_fetch_add(&dropped, count);
}

/* --- lines that wait for the end of a turn --- */

/* PIPE_BUF: a pipe accepts so many bytes without blocking, and as one piece. */
enum { GATHERED_BYTES = 4096 };

static struct {
	pthread_mutex_t lock; /* guards what follows */
	bool on;
	char lines[GATHERED_BYTES];
	size_t bytes;
	uint64_t count;
} gathered = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* With the lock held. */
static void flush_gathered(void)
{
	if (gathered.count > 0)
		put_lines(gathered.lines, gathered.bytes, gathered.count);
	gathered.bytes = 0;
	gathered.count = 0;
}

void log_gather(bool on)
{
	pthread_mutex_lock(&gathered.lock);
	flush_gathered();
	gathered.on = on && !log_verbose;
	pthread_mutex_unlock(&gathered.lock);
}

void log_flush(void)
{
	pthread_mutex_lock(&gathered.lock);
	flush_gathered();
	pthread_mutex_unlock(&gathered.lock);
}

/* Writes the line of an event, behind those that were gathered. `may_wait`: it may be gathered. */
static void put_whole(const char *level, const char *text, uint64_t suppressed, bool may_wait)
{
	char line[JSON_BYTES];
	size_t bytes = make_line(line, level, text, suppressed);

	pthread_mutex_lock(&gathered.lock);
	if (!may_wait || !gathered.on || gathered.bytes + bytes > sizeof gathered.lines)
		flush_gathered();
	if (may_wait && gathered.on && bytes <= sizeof gathered.lines) {
		memcpy(gathered.lines + gathered.bytes, line, bytes);
		gathered.bytes += bytes;
		gathered.count++;
	} else {
		put_lines(line, bytes, 1);
	}
	pthread_mutex_unlock(&gathered.lock);
}

PRINTF_LIKE(3, 0)
static void put_line(const char *level, uint64_t suppressed, const char *fmt, va_list args)
{
	char text[TEXT_BYTES];

	if (vsnprintf(text, sizeof text, fmt, args) < 0)
		return;
	/* Peers' bytes are quoted where the line is made; this holds where that was forgotten. */
	for (char *at = text; *at != '\0'; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	}
	put_whole(level, text, suppressed, false);
}

#define DEFINE_LEVEL(level, shown)                                                                 \
	void log_##level(const char *fmt, ...)                                                     \
	{                                                                                          \
		va_list args;                                                                      \
		if (!(shown))                                                                      \
			return;                                                                    \
		va_start(args, fmt);                                                               \
		put_line(#level, 0, fmt, args);                                                    \
		va_end(args);                                                                      \
	}

DEFINE_LEVEL(error, true)
DEFINE_LEVEL(warn, true)
DEFINE_LEVEL(info, true)
DEFINE_LEVEL(debug, log_verbose)

/* --- limits --- */

enum {
	/* Limit on pairs of kind and peer that are counted; the oldest of PROBES makes room. */
	COUNTERS = 1024,
	PROBES = 8,
	/* A line log.suppressed is written where no further line of the kind arrives for so
	 * long. */
	TELL_AFTER_MS = 10000,
	SWEEP_EVERY_MS = 1000,
};

struct limit {
	int lines; /* at once */
	int64_t every_ms;
};

static const struct limit often = {LOG_BURST, 1000}, seldom = {1, 60000},
			  requests = {LOG_REQUESTS_BURST, 1000 / LOG_REQUESTS_PER_S};

/* Of one kind and one `who`. */
struct counter {
	const char *fmt; /* NULL: free */
	char who[LOG_WHO_MAX_BYTES + 1];
	const struct limit *limit;
	int lines_left;
	int64_t refilled_ms, last_ms;
	uint64_t suppressed;
};

static struct {
	pthread_mutex_t lock; /* guards what follows */
	struct counter counters[COUNTERS];
	int64_t swept_ms;
	bool tells_at_exit;
} limits = {.lock = PTHREAD_MUTEX_INITIALIZER};

PRINTF_LIKE(2, 3)
static void put_text(const char *level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	put_line(level, 0, fmt, args);
	va_end(args);
}

static void tell(struct counter *c)
{
	if (c->suppressed > 0)
		put_text("warn", "log.suppressed event=%.*s who=\"%s\" suppressed=%llu",
			 (int)strcspn(c->fmt, " "), c->fmt, c->who,
			 (unsigned long long)c->suppressed);
	c->suppressed = 0;
}

/* With the lock held. */
static void sweep(int64_t now_ms, bool all)
{
	if (!all && now_ms - limits.swept_ms < SWEEP_EVERY_MS)
		return;
	limits.swept_ms = now_ms;
	for (size_t i = 0; i < COUNTERS; i++) {
		struct counter *c = &limits.counters[i];
		if (c->suppressed > 0 && (all || (now_ms - c->last_ms >= TELL_AFTER_MS &&
						  now_ms - c->last_ms >= c->limit->every_ms)))
			tell(c);
	}
}

void log_tell_suppressed(void)
{
	pthread_mutex_lock(&limits.lock);
	sweep(clock_now_ms(), false);
	pthread_mutex_unlock(&limits.lock);
}

static void tell_all(void)
{
	pthread_mutex_lock(&limits.lock);
	sweep(0, true);
	pthread_mutex_unlock(&limits.lock);
}

static size_t hash(const char *fmt, const char *who)
{
	uint64_t h = (uint64_t)(uintptr_t)fmt * 0x9e3779b97f4a7c15u;

	for (const char *at = who; *at != '\0' && at < who + LOG_WHO_MAX_BYTES; at++)
		h = (h ^ (unsigned char)*at) * 0x100000001b3u; /* FNV-1a */
	return (size_t)(h >> 20);
}

static struct counter *find(const struct limit *limit, const char *who, const char *fmt,
			    int64_t now_ms)
{
	size_t first = hash(fmt, who);
	struct counter *c, *oldest = NULL;

	for (size_t i = 0; i < PROBES; i++) {
		c = &limits.counters[(first + i) % COUNTERS];
		if (c->fmt == fmt && strncmp(c->who, who, LOG_WHO_MAX_BYTES) == 0)
			return c;
		if (oldest == NULL || c->last_ms < oldest->last_ms)
			oldest = c;
	}
	if (oldest->fmt != NULL)
		tell(oldest);
	*oldest = (struct counter){.fmt = fmt, .limit = limit, .lines_left = limit->lines};
	snprintf(oldest->who, sizeof oldest->who, "%s", who);
	oldest->refilled_ms = now_ms;
	return oldest;
}

/* May a line pass? If so, *suppressed is the number of those that did not, before it. */
static bool may_pass(const struct limit *limit, const char *who, const char *fmt,
		     uint64_t *suppressed)
{
	int64_t now_ms = clock_now_ms();
	struct counter *c;

	*suppressed = 0;
	if (log_verbose)
		return true;
	pthread_mutex_lock(&limits.lock);
	c = find(limit, who, fmt, now_ms);
	int64_t refills = (now_ms - c->refilled_ms) / limit->every_ms;
	c->refilled_ms += refills * limit->every_ms;
	c->lines_left = refills >= limit->lines - c->lines_left ? limit->lines
								: c->lines_left + (int)refills;
	bool pass = c->lines_left > 0;
	if (pass) {
		c->lines_left--;
		*suppressed = c->suppressed;
		c->suppressed = 0;
	} else {
		c->suppressed++;
		if (!limits.tells_at_exit)
			limits.tells_at_exit = atexit(tell_all) == 0;
	}
	c->last_ms = now_ms;
	sweep(now_ms, false);
	pthread_mutex_unlock(&limits.lock);
	return pass;
}

#define DEFINE_LIMITED(level)                                                                      \
	void log_limited_##level(const char *who, const char *fmt, ...)                            \
	{                                                                                          \
		va_list args;                                                                      \
		uint64_t suppressed;                                                               \
		if (!may_pass(&often, who, fmt, &suppressed))                                      \
			return;                                                                    \
		va_start(args, fmt);                                                               \
		put_line(#level, suppressed, fmt, args);                                           \
		va_end(args);                                                                      \
	}

DEFINE_LIMITED(error)
DEFINE_LIMITED(warn)
DEFINE_LIMITED(info)

bool log_request_passes(const char *who, bool by_anybody, uint64_t *suppressed)
{
	/* Two kinds of line, by their addresses: a connection id may be named as a code is. */
	static const char of_a_tunnel[] = "request.done", of_anybody[] = "request.done";

	*suppressed = 0;
	if (log_mode == LOG_QUIET)
		return false;
	return by_anybody ? may_pass(&often, who, of_anybody, suppressed)
			  : may_pass(&requests, who, of_a_tunnel, suppressed);
}

void log_request(const char *text, uint64_t suppressed)
{
	put_whole("info", text, suppressed, true);
}

void log_seldom_warn(const char *fmt, ...)
{
	va_list args;
	uint64_t suppressed;

	if (!may_pass(&seldom, "", fmt, &suppressed))
		return;
	va_start(args, fmt);
	put_line("warn", suppressed, fmt, args);
	va_end(args);
}

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
