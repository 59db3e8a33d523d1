/* client/token.h - The tunnel's token, as people paste it. Pure. */
#ifndef PIPEGATE_CLIENT_TOKEN_H
#define PIPEGATE_CLIENT_TOKEN_H

#include <stddef.h>

enum { TOKEN_MAX_BYTES = 12 * 1024 };

/* The one token in the text: alone, behind "JWT Bearer:" or "Bearer", or among both lines of
 * pipegate-token, with blanks and line ends around it. NULL: *why, a literal, says what is wrong
 * with the text. The caller frees the result. */
char *token_find(const char *text, const char **why);

/* What people get wrong where the token stands alone: it is empty, or quoted. NULL, or words
 * that follow a name. */
const char *token_fault(const char *token, size_t bytes);

/* The connection id that it is for: the claim "sub", without a look at the signature. NULL: it
 * cannot be read. The caller frees it. */
char *token_subject(const char *token, size_t bytes);

#endif
