/* client/token.c - see token.h. */
#include "client/token.h"

#include "client/v1.h"
#include "common/b64.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- in a text --- */

/* Checks for the characters of "Authorization: Bearer" (RFC 6750 2.1). */
static bool is_possible(const char *token, size_t bytes)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789-._~+/=";

	return bytes > 0 && bytes <= TOKEN_MAX_BYTES && strspn(token, letters) >= bytes;
}

static void trim(const char **at, size_t *bytes)
{
	while (*bytes > 0 && (**at == ' ' || **at == '\t')) {
		++*at;
		--*bytes;
	}
	while (*bytes > 0 && ((*at)[*bytes - 1] == ' ' || (*at)[*bytes - 1] == '\t'))
		--*bytes;
}

static bool skip_prefix(const char **at, size_t *bytes, const char *prefix)
{
	size_t prefix_bytes = strlen(prefix);

	if (*bytes < prefix_bytes || strncasecmp(*at, prefix, prefix_bytes) != 0)
		return false;
	*at += prefix_bytes;
	*bytes -= prefix_bytes;
	trim(at, bytes);
	return true;
}

/* Returns false if the line holds no token. */
static bool read_line(const char **at, size_t *bytes)
{
	trim(at, bytes);
	if (*bytes == 0 || skip_prefix(at, bytes, "Connection-id:"))
		return false;
	(void)skip_prefix(at, bytes, "Authorization:");
	if (!skip_prefix(at, bytes, "JWT Bearer:"))
		(void)skip_prefix(at, bytes, "Bearer ");
	return true;
}

static bool is_quoted(const char *token, size_t bytes)
{
	return bytes > 0 && (strchr("\"'`", token[0]) != NULL ||
			     strncasecmp(token, "%22", 3) == 0 || strncmp(token, "%27", 3) == 0);
}

const char *token_fault(const char *token, size_t bytes)
{
	if (bytes == 0)
		return "is empty";
	if (is_quoted(token, bytes))
		return "has quotes around the token: remove them";
	return NULL;
}

static const char *find_fault(const char *token, size_t bytes)
{
	if (bytes == 0)
		return "holds no token";
	if (is_quoted(token, bytes))
		return token_fault(token, bytes);
	return is_possible(token, bytes) ? NULL
					 : "is not a token: too long, or with an invalid character";
}

char *token_find(const char *text, const char **why)
{
	char *token = NULL;

	*why = text[strspn(text, " \t\r\n")] == '\0' ? "is empty" : "holds no token";
	/* Some editors write a byte order mark first. */
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	while (*text != '\0') {
		size_t line_bytes = strcspn(text, "\r\n"), bytes = line_bytes;
		const char *at = text;
		text += line_bytes + (text[line_bytes] != '\0');
		if (!read_line(&at, &bytes))
			continue;
		*why = token != NULL ? "holds more than one token" : find_fault(at, bytes);
		if (*why != NULL) {
			free(token);
			return NULL;
		}
		token = strndup(at, bytes);
		CHECK(token != NULL);
	}
	return token;
}

/* --- what it says --- */

/* Decodes base64url without padding (RFC 7515 2). Returns NULL if it is invalid. */
static uint8_t *decode(const char *part, size_t part_bytes, size_t *bytes)
{
	size_t padded_bytes = (part_bytes + 3) / 4 * 4;
	char *text = xmalloc(padded_bytes + 1);

	for (size_t i = 0; i < padded_bytes; i++) {
		char c = i < part_bytes ? part[i] : '=';
		text[i] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	uint8_t *data = b64_decode(text, padded_bytes, bytes);
	free(text);
	return data;
}

char *token_subject(const char *token, size_t bytes)
{
	const char *part = memchr(token, '.', bytes);
	const char *end = token + bytes, *part_end;
	size_t json_bytes = 0;

	if (part == NULL || bytes > TOKEN_MAX_BYTES)
		return NULL;
	part++;
	part_end = memchr(part, '.', (size_t)(end - part));
	if (part_end == NULL)
		return NULL;
	uint8_t *json = decode(part, (size_t)(part_end - part), &json_bytes);
	char *subject = json != NULL ? v1_json_text(json, json_bytes, "sub") : NULL;
	free(json);
	return subject;
}
