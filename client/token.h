/* client/token.h - The tunnel's token, as people paste it. Pure. */
#ifndef PIPEGATE_CLIENT_TOKEN_H
#define PIPEGATE_CLIENT_TOKEN_H

#include <stddef.h>

enum { TOKEN_MAX_BYTES = 12 * 1024 };

/* The one token in the text: alone, behind "JWT Bearer:" or "Bearer", or among both lines of pipegate-token, with blanks
 * and line ends around it. NULL: there is none, or more than one, or it cannot be one. The caller frees it. */
char *token_find(const char *text);

/* The connection id that it is for: the claim "sub", without a look at the signature. NULL: it cannot be read. The
 * caller frees it. */
char *token_subject(const char *token, size_t bytes);

#endif
