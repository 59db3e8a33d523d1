/* common/http_reason.h - The reason phrases of HTTP status codes, as registered with IANA. */
#ifndef PIPEGATE_HTTP_REASON_H
#define PIPEGATE_HTTP_REASON_H

/* Returns the phrase for a status, or "Status" for one that is not registered. */
const char *http_reason(int status);

#endif
