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

uint8_t *b64_decode(const char *text, size_t text_bytes, size_t *bytes)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t padding = 0;

	if (text_bytes % 4 != 0 || text_bytes > INT_MAX)
		return NULL;
	while (padding < 2 && padding < text_bytes && text[text_bytes - 1 - padding] == '=')
		padding++;
	/* EVP_DecodeBlock() overlooks white space at both ends. */
	for (size_t i = 0; i < text_bytes - padding; i++) {
		if (text[i] == '\0' || strchr(alphabet, text[i]) == NULL)
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
