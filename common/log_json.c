/* common/log_json.c - see log_json.h. Without jansson: this runs for each request, and an object of
 * jansson would cost more than the rest of the line. */
#include "common/log_json.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	KEY_MAX_BYTES = 32,
	INTEGER_MAX_DIGITS = 15, /* a double holds these exactly, and so does any JSON reader */
	WORDS_BYTES = 2048,	 /* as many as a line may have */
	MEMBERS_MAX = 32,	 /* further pairs are joined in "text" */
	LAST_MEMBERS = 2,	 /* "text", "suppressed" */
	RENAMED_MAX = 4,
};

/* A piece of the line. */
struct span {
	const char *at;
	size_t bytes;
};

/* The object so far. */
struct object {
	char *out;
	size_t used, room; /* `room` leaves a byte for the closing brace */
	bool is_full;	   /* something did not fit */
	struct span keys[MEMBERS_MAX + LAST_MEMBERS];
	size_t count;
};

static void put(struct object *o, const char *bytes, size_t count)
{
	if (count > o->room - o->used) {
		o->is_full = true;
		return;
	}
	memcpy(o->out + o->used, bytes, count);
	o->used += count;
}

/* Writes a string. It is quoted as by log_quote() if a byte is not printable ASCII, so only quotes
 * and backslashes need an escape in JSON. */
static void put_string(struct object *o, struct span s)
{
	char quoted[4 * WORDS_BYTES];
	size_t start = 0;

	for (size_t i = 0; i < s.bytes; i++) {
		if ((unsigned char)s.at[i] < 0x20 || (unsigned char)s.at[i] >= 0x7f) {
			log_quote(quoted, sizeof quoted, s.at, s.bytes);
			s = (struct span){quoted, strlen(quoted)};
			break;
		}
	}
	put(o, "\"", 1);
	for (size_t i = 0; i < s.bytes; i++) {
		if (s.at[i] == '"' || s.at[i] == '\\') {
			put(o, s.at + start, i - start);
			put(o, "\\", 1);
			start = i;
		}
	}
	put(o, s.at + start, s.bytes - start);
	put(o, "\"", 1);
}

static bool has_key(const struct object *o, struct span key)
{
	for (size_t i = 0; i < o->count; i++) {
		if (o->keys[i].bytes == key.bytes && memcmp(o->keys[i].at, key.at, key.bytes) == 0)
			return true;
	}
	return false;
}

/* Begins a member. False: the key is taken. `key` must stay valid. */
static bool put_key(struct object *o, struct span key)
{
	CHECK(o->count < sizeof o->keys / sizeof o->keys[0]);
	if (has_key(o, key))
		return false;
	put(o, o->count == 0 ? "{\"" : ", \"", o->count == 0 ? 2 : 3);
	put(o, key.at, key.bytes);
	put(o, "\": ", 3);
	o->keys[o->count++] = key;
	return true;
}

static struct span span_of(const char *text)
{
	return (struct span){text, strlen(text)};
}

static void put_text(struct object *o, const char *key, struct span value)
{
	if (put_key(o, span_of(key)))
		put_string(o, value);
}

static bool is_integer(struct span s)
{
	size_t sign = s.bytes > 0 && s.at[0] == '-';

	if (s.bytes == sign || s.bytes - sign > INTEGER_MAX_DIGITS ||
	    (s.at[sign] == '0' && s.bytes > 1))
		return false;
	for (size_t i = sign; i < s.bytes; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
	}
	return true;
}

/* Returns the word at *at and moves *at past the blank after it. A quoted part may contain
 * blanks. */
static struct span next_word(const char **at)
{
	struct span word = {*at, 0};
	bool quoted = false;
	const char *c = *at;

	for (; *c != '\0' && (quoted || *c != ' '); c++) {
		if (quoted && *c == '\\' && c[1] != '\0')
			c++;
		else if (*c == '"')
			quoted = !quoted;
	}
	word.bytes = (size_t)(c - *at);
	*at = *c == ' ' ? c + 1 : c;
	return word;
}

/* Splits KEY=VALUE. False: the word has another form. */
static bool split(struct span word, struct span *key, struct span *value, bool *quoted)
{
	size_t bytes = 0;

	while (bytes < word.bytes &&
	       ((word.at[bytes] >= 'a' && word.at[bytes] <= 'z') ||
		(word.at[bytes] >= '0' && word.at[bytes] <= '9') || word.at[bytes] == '_'))
		bytes++;
	if (bytes == 0 || bytes >= KEY_MAX_BYTES || bytes == word.bytes || word.at[bytes] != '=')
		return false;
	*key = (struct span){word.at, bytes};
	*value = (struct span){word.at + bytes + 1, word.bytes - bytes - 1};
	*quoted = value->bytes > 0 && value->at[0] == '"';
	if (*quoted) { /* the closing quote is missing if a long line was truncated */
		value->at++;
		value->bytes--;
		value->bytes -= value->bytes > 0 && value->at[value->bytes - 1] == '"';
	}
	return true;
}

/* Writes a key=value. False: there are MEMBERS_MAX, or the key is taken. */
static bool put_value(struct object *o, struct span key, struct span value, bool quoted)
{
	bool is_name = key.bytes == 4 &&
		       (memcmp(key.at, "conn", 4) == 0 || memcmp(key.at, "corr", 4) == 0);

	if (o->count >= MEMBERS_MAX || !put_key(o, key))
		return false;
	if (!quoted && !is_name && is_integer(value))
		put(o, value.at, value.bytes);
	else
		put_string(o, value);
	return true;
}

static void put_time(struct object *o)
{
	char text[40];
	struct tm broken_down;
	int64_t now_ms = clock_wall_ms();
	time_t now_s = (time_t)(now_ms / 1000);

	gmtime_r(&now_s, &broken_down);
	size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &broken_down);
	snprintf(text + used, sizeof text - used, ".%03dZ", (int)(now_ms % 1000));
	put_text(o, "time", span_of(text));
}

/* The few repeated keys with "_" appended; a key's text must outlive the object. */
struct renamed {
	char keys[RENAMED_MAX][KEY_MAX_BYTES + 1];
	size_t count;
};

static struct span rename_key(struct renamed *r, struct span key)
{
	char *to = r->keys[r->count++];

	memcpy(to, key.at, key.bytes);
	to[key.bytes] = '_';
	return (struct span){to, key.bytes + 1};
}

static void put_members(struct object *o, const char *text)
{
	struct renamed renamed = {.count = 0};
	char words[WORDS_BYTES];
	size_t used = 0;
	bool quoted;

	while (*text != '\0') {
		struct span word = next_word(&text), key, value;
		bool is_pair = split(word, &key, &value, &quoted);
		if (is_pair && has_key(o, key) && renamed.count < RENAMED_MAX)
			key = rename_key(&renamed, key);
		if ((is_pair && put_value(o, key, value, quoted)) ||
		    used + word.bytes + 1 >= sizeof words)
			continue;
		if (used > 0)
			words[used++] = ' ';
		memcpy(words + used, word.at, word.bytes);
		used += word.bytes;
	}
	if (used > 0)
		put_text(o, "text", (struct span){words, used});
}

size_t log_json_write(char *out, size_t out_bytes, const char *level, const char *text,
		      uint64_t suppressed)
{
	static const char instead[] = "{\"level\": \"error\", \"event\": \"log.no_room\"}";
	struct object o = {.out = out, .room = out_bytes - 1};
	char number[24];

	put_time(&o);
	put_text(&o, "level", span_of(level));
	put_text(&o, "program", span_of(program_invocation_short_name));
	put_text(&o, "event", next_word(&text));
	put_members(&o, text);
	if (suppressed > 0 && put_key(&o, span_of("suppressed"))) {
		snprintf(number, sizeof number, "%llu", (unsigned long long)suppressed);
		put(&o, number, strlen(number));
	}
	if (o.is_full) {
		memcpy(out, instead, sizeof instead - 1);
		return sizeof instead - 1;
	}
	out[o.used++] = '}';
	return o.used;
}
