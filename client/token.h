/* client/token.h - Finds the tunnel's token in a text as users paste it. Pure. */
#ifndef PIPEGATE_CLIENT_TOKEN_H
#define PIPEGATE_CLIENT_TOKEN_H

#include <stddef.h>

enum { TOKEN_MAX_BYTES = 12 * 1024 };

/* Finds the only token in the text: alone, after "JWT Bearer:" or "Bearer", or in the two lines of
 * pipegate-token, with any blanks and line ends around it. Returns NULL if there is none or
 * several; *why, a literal, then says what is wrong with the text. The caller frees the result. */
char *token_find(const char *text, const char **why);

/* Checks for common mistakes with a token that stands alone: it is empty, or quoted. Returns NULL,
 * or words to print after the name of its source. */
const char *token_fault(const char *token, size_t bytes);

/* The token's connection id: its claim "sub". The signature is not checked. NULL: unreadable. The
 * caller frees the result. */
char *token_subject(const char *token, size_t bytes);

#endif
