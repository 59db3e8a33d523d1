/* common/log.c - see log.h. */
#include "common/log.h"

#include "common/clock.h"
#include "common/log_json.h"
#include "common/log_output.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TEXT_BYTES = 2048, /* limit on a line without its level; a longer one is truncated */
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

static _Thread_local struct {
	void (*fn)(void *ctx, const char *text, const char *line, size_t bytes);
	void *ctx;
} tap;

void log_tap(void (*fn)(void *ctx, const char *text, const char *line, size_t bytes), void *ctx)
{
	tap.fn = fn;
	tap.ctx = ctx;
}

/* Writes the line of an event. `suppressed`: the number of lines like this one that were suppressed
 * before it. False: it was refused. */
static bool put_event(const char *level, const char *text, uint64_t suppressed)
{
	char line[JSON_BYTES];
	size_t bytes;
	bool urgent = log_verbose || *level == 'e' || *level == 'w';

	if (log_mode == LOG_JSON)
		bytes = log_json_write(line, sizeof line - 1, level, text, suppressed);
	else
		bytes = as_text(line, level, text, suppressed);
	line[bytes++] = '\n';
	if (tap.fn != NULL)
		tap.fn(tap.ctx, text, line, bytes);
	return log_output_line(line, bytes, urgent);
}

/* Writes a line, after a line log.dropped if lines were refused before it. */
static void put_whole(const char *level, const char *text, uint64_t suppressed)
{
	static _Atomic uint64_t dropped;
	uint64_t lost = dropped > 0 ? atomic_exchange(&dropped, 0) : 0;

	if (lost > 0) {
		char note[64];
		snprintf(note, sizeof note, "log.dropped lines=%llu", (unsigned long long)lost);
		if (!put_event("warn", note, 0)) {
			atomic_fetch_add(&dropped, lost + 1);
			return;
		}
	}
	if (!put_event(level, text, suppressed))
		atomic_fetch_add(&dropped, 1);
}

PRINTF_LIKE(3, 0)
static void put_line(const char *level, uint64_t suppressed, const char *fmt, va_list args)
{
	char text[TEXT_BYTES];

	if (vsnprintf(text, sizeof text, fmt, args) < 0)
		return;
	/* The caller has quoted bytes of peers; this is the second line of defence. */
	for (char *at = text; *at != '\0'; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	}
	put_whole(level, text, suppressed);
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
	/* Limit on the pairs of kind and peer that are counted. A new pair replaces the oldest of
	 * PROBES entries. */
	COUNTERS = 1024,
	PROBES = 8,
	/* A line log.suppressed is written after this time without a further line of the kind. */
	TELL_AFTER_MS = 10000,
	SWEEP_EVERY_MS = 1000,
};

struct limit {
	int lines;	  /* pass at once */
	int64_t every_ms; /* then one line per this time */
};

static const struct limit often = {LOG_BURST, 1000}, seldom = {1, 60000},
			  requests = {LOG_REQUESTS_BURST, 1000 / LOG_REQUESTS_PER_S};

/* Counts the lines of one kind and one `who`. */
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

/* Returns whether a line may pass. If so, *suppressed is the number of lines suppressed before
 * it. */
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
	/* Two kinds, distinguished by address, because a connection id may equal a failure code. */
	static const char of_a_tunnel[] = "request.done", of_anybody[] = "request.done";

	*suppressed = 0;
	if (log_mode == LOG_QUIET)
		return false;
	return by_anybody ? may_pass(&often, who, of_anybody, suppressed)
			  : may_pass(&requests, who, of_a_tunnel, suppressed);
}

void log_request(const char *text, uint64_t suppressed)
{
	put_whole("info", text, suppressed);
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
