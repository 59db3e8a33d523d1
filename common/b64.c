/* common/b64.c - see b64.h. */
#include "common/b64.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

char *b64_encode(const void *data, size_t bytes, size_t *text_bytes)
{
	CHECK(bytes <= INT_MAX / 2);
	char *text = xmalloc((bytes + 2) / 3 * 4 + 1);

	text[0] = '\0';
	*text_bytes = bytes ? (size_t)EVP_EncodeBlock((unsigned char *)text, data, (int)bytes) : 0;
	return text;
}

bool b64_is_digit(uint8_t c)
{
	/* One bit per character: the table is consulted for every byte of bodies of many MiB. */
	static const uint64_t digits[4] = {0x03ff880000000000, 0x07fffffe07fffffe, 0, 0};

	return digits[c / 64] >> c % 64 & 1;
}

uint8_t *b64_decode(const char *text, size_t text_bytes, size_t *bytes)
{
	size_t padding = 0;

	if (text_bytes % 4 != 0 || text_bytes > INT_MAX)
		return NULL;
	while (padding < 2 && padding < text_bytes && text[text_bytes - 1 - padding] == '=')
		padding++;
	/* EVP_DecodeBlock() ignores white space at both ends. */
	for (size_t i = 0; i < text_bytes - padding; i++) {
		if (!b64_is_digit((uint8_t)text[i]))
			return NULL;
	}
	uint8_t *data = malloc(text_bytes / 4 * 3 + 1);
	if (data == NULL)
		return NULL;
	if (text_bytes > 0 &&
	    EVP_DecodeBlock(data, (const unsigned char *)text, (int)text_bytes) < 0) {
		free(data);
		return NULL;
	}
	*bytes = text_bytes / 4 * 3 - padding;
	return data;
}

char *b64_encode_url(const void *data, size_t bytes, size_t *text_bytes)
{
	char *text = b64_encode(data, bytes, text_bytes);

	while (*text_bytes > 0 && text[*text_bytes - 1] == '=')
		text[--*text_bytes] = '\0';
	for (size_t i = 0; i < *text_bytes; i++) {
		if (text[i] == '+')
			text[i] = '-';
		else if (text[i] == '/')
			text[i] = '_';
	}
	return text;
}

uint8_t *b64_decode_url(const char *text, size_t text_bytes, size_t *bytes)
{
	size_t padded_bytes = (text_bytes + 3) / 4 * 4;
	char *padded = malloc(padded_bytes + 1);
	uint8_t *data = NULL;
	bool good = padded != NULL && text_bytes % 4 != 1;

	for (size_t i = 0; good && i < padded_bytes; i++) {
		char c = i < text_bytes ? text[i] : '=';
		good = c != '+' && c != '/' && (c != '=' || i >= text_bytes);
		padded[i] = c;
		if (c == '-')
			padded[i] = '+';
		else if (c == '_')
			padded[i] = '/';
	}
	if (good)
		data = b64_decode(padded, padded_bytes, bytes);
	free(padded);
	return data;
}

void b64_encode_piece(const void *data, size_t bytes, char *text)
{
	CHECK(bytes > 0 && bytes <= INT_MAX / 2);
	char last[5];
	size_t whole = (bytes - 1) / 3 * 3;

	/* EVP_EncodeBlock() appends a NUL. That of the first call is overwritten by the last group,
	 * which is encoded separately. */
	if (whole > 0)
		EVP_EncodeBlock((unsigned char *)text, data, (int)whole);
	EVP_EncodeBlock((unsigned char *)last, (const unsigned char *)data + whole,
			(int)(bytes - whole));
	memcpy(text + whole / 3 * 4, last, 4);
}

bool b64_decode_piece(const char *text, size_t text_bytes, uint8_t *data)
{
	CHECK(text_bytes > 0 && text_bytes % 4 == 0 && text_bytes <= INT_MAX);
	return EVP_DecodeBlock(data, (const unsigned char *)text, (int)text_bytes) ==
	       (int)(text_bytes / 4 * 3);
}
