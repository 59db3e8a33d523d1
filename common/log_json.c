/* common/log_json.c - see log_json.h. */
#include "common/log_json.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	KEY_MAX_BYTES = 32,
	INTEGER_MAX_DIGITS = 15, /* a double holds these exactly, and so does any JSON reader */
	WORDS_BYTES = 2048,	 /* as many as a line may have */
};

/* A piece of the line. */
struct span {
	const char *at;
	size_t bytes;
};

/* Makes a string of the bytes, quoted if one is not printable ASCII: jansson accepts only valid
 * UTF-8. */
static json_t *string_of(struct span s)
{
	char quoted[4 * WORDS_BYTES];

	for (size_t i = 0; i < s.bytes; i++) {
		if ((unsigned char)s.at[i] < 0x20 || (unsigned char)s.at[i] >= 0x7f) {
			log_quote(quoted, sizeof quoted, s.at, s.bytes);
			return json_string(quoted);
		}
	}
	return json_stringn(s.at, s.bytes);
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

static json_int_t integer_of(struct span s)
{
	json_int_t value = 0;
	bool negative = s.at[0] == '-';

	for (size_t i = negative; i < s.bytes; i++)
		value = value * 10 + (s.at[i] - '0');
	return negative ? -value : value;
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
static bool split(struct span word, char key[KEY_MAX_BYTES], struct span *value, bool *quoted)
{
	size_t bytes = 0;

	while (bytes < word.bytes &&
	       ((word.at[bytes] >= 'a' && word.at[bytes] <= 'z') ||
		(word.at[bytes] >= '0' && word.at[bytes] <= '9') || word.at[bytes] == '_'))
		bytes++;
	if (bytes == 0 || bytes >= KEY_MAX_BYTES || bytes == word.bytes || word.at[bytes] != '=')
		return false;
	memcpy(key, word.at, bytes);
	key[bytes] = '\0';
	*value = (struct span){word.at + bytes + 1, word.bytes - bytes - 1};
	*quoted = value->bytes > 0 && value->at[0] == '"';
	if (*quoted) { /* the closing quote is missing if a long line was truncated */
		value->at++;
		value->bytes--;
		value->bytes -= value->bytes > 0 && value->at[value->bytes - 1] == '"';
	}
	return true;
}

static int set_value(json_t *object, char key[KEY_MAX_BYTES + 1], struct span value, bool quoted)
{
	if (json_object_get(object, key) != NULL)
		strcat(key, "_");
	bool is_name = strcmp(key, "conn") == 0 || strcmp(key, "corr") == 0;

	if (!quoted && !is_name && is_integer(value))
		return json_object_set_new(object, key, json_integer(integer_of(value)));
	return json_object_set_new(object, key, string_of(value));
}

static int set_time(json_t *object)
{
	char text[40];
	struct tm broken_down;
	int64_t now_ms = clock_wall_ms();
	time_t now_s = (time_t)(now_ms / 1000);

	gmtime_r(&now_s, &broken_down);
	size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &broken_down);
	snprintf(text + used, sizeof text - used, ".%03dZ", (int)(now_ms % 1000));
	return json_object_set_new(object, "time", json_string(text));
}

static int set_members(json_t *object, const char *text)
{
	char key[KEY_MAX_BYTES + 1], words[WORDS_BYTES];
	size_t used = 0;
	int result = 0;
	bool quoted;

	while (*text != '\0' && result == 0) {
		struct span word = next_word(&text), value;
		if (split(word, key, &value, &quoted)) {
			result = set_value(object, key, value, quoted);
		} else if (used + word.bytes + 1 < sizeof words) {
			if (used > 0)
				words[used++] = ' ';
			memcpy(words + used, word.at, word.bytes);
			used += word.bytes;
		}
	}
	if (used > 0 && result == 0)
		result = json_object_set_new(object, "text", string_of((struct span){words, used}));
	return result;
}

static json_t *object_of(const char *level, const char *text, uint64_t suppressed)
{
	json_t *object = json_object();
	struct span event = next_word(&text);
	const char *program = program_invocation_short_name;
	bool bad = object == NULL || set_time(object) != 0 ||
		   json_object_set_new(object, "level", json_string(level)) != 0 ||
		   json_object_set_new(object, "program",
				       string_of((struct span){program, strlen(program)})) != 0 ||
		   json_object_set_new(object, "event", string_of(event)) != 0 ||
		   set_members(object, text) != 0;

	if (!bad && suppressed > 0)
		bad = json_object_set_new(object, "suppressed",
					  json_integer((json_int_t)suppressed)) != 0;
	if (bad) {
		json_decref(object);
		return NULL;
	}
	return object;
}

size_t log_json_write(char *out, size_t out_bytes, const char *level, const char *text,
		      uint64_t suppressed)
{
	static const char instead[] = "{\"level\": \"error\", \"event\": \"log.no_room\"}";
	json_t *object = object_of(level, text, suppressed);
	size_t bytes = object != NULL ? json_dumpb(object, out, out_bytes, JSON_ENSURE_ASCII) : 0;

	json_decref(object);
	if (bytes == 0 || bytes > out_bytes) {
		bytes = sizeof instead - 1;
		memcpy(out, instead, bytes);
	}
	return bytes;
}
