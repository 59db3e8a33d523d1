/* common/access_log.c - see access_log.h. */
#include "common/access_log.h"

#include "common/check.h"
#include "common/head.h"
#include "common/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NUMBERS_BYTES = 160, WORD_BYTES = 64 };

char *access_log_request(const void *method, size_t method_bytes, const void *target,
			 size_t target_bytes)
{
	char text[ACCESS_LOG_METHOD_BYTES + ACCESS_LOG_PATH_BYTES + sizeof "method=\"\" path=\"\""];
	char quoted_method[ACCESS_LOG_METHOD_BYTES], path[ACCESS_LOG_PATH_BYTES];

	if (log_mode == LOG_QUIET)
		return NULL;
	const char *query = target_bytes > 0 ? memchr(target, '?', target_bytes) : NULL;
	if (query != NULL)
		target_bytes = (size_t)(query - (const char *)target);
	log_quote(quoted_method, sizeof quoted_method, method, method_bytes);
	log_quote(path, sizeof path, target, target_bytes);
	snprintf(text, sizeof text, "method=\"%s\" path=\"%s\"", quoted_method, path);
	return xstrdup(text);
}

char *access_log_request_of(const void *head, size_t head_bytes)
{
	struct head_field method = {0}, target = {0};

	if (log_mode == LOG_QUIET)
		return NULL;
	(void)head_find(head, head_bytes, ":method", &method);
	(void)head_find(head, head_bytes, ":target", &target);
	return access_log_request(method.value, method.value_bytes, target.value,
				  target.value_bytes);
}

/* Without a tunnel of the operator's own. */
static bool is_for_nobody(enum fail f)
{
	return f == FAIL_NOT_FOUND || f == FAIL_TUNNEL_UNKNOWN || f == FAIL_BAD_PATH ||
	       f == FAIL_BAD_REQUEST;
}

static const char *text_or(const char *text, const char *instead)
{
	return text != NULL && *text != '\0' ? text : instead;
}

void access_log_put(const struct access_log_line *l)
{
	const char *conn = text_or(l->conn, "-"), *corr = text_or(l->corr, "-");
	char numbers[NUMBERS_BYTES] = "", code[WORD_BYTES] = "";
	size_t used = 0;

	if (l->request == NULL)
		return;
	for (size_t i = 0; i < ACCESS_LOG_NUMBERS && l->numbers[i].name != NULL; i++) {
		const struct access_log_number *n = &l->numbers[i];
		if (n->value >= 0 && used < sizeof numbers)
			used += (size_t)snprintf(numbers + used, sizeof numbers - used, " %s=%lld",
						 n->name, (long long)n->value);
	}
	if (l->fail != FAIL_NONE)
		snprintf(code, sizeof code, " code=%s%s%s", fail_code(l->fail),
			 l->delivered != NULL ? " delivered=" : "", text_or(l->delivered, ""));
#define LINE "request.done conn=%s corr=%s %s status=%d%s up_bytes=%lld down_bytes=%lld%s"
	if (is_for_nobody(l->fail))
		log_limited_info(fail_code(l->fail), LINE, conn, corr, l->request, l->status, code,
				 (long long)l->up_bytes, (long long)l->down_bytes, numbers);
	else
		log_limited_request(conn, LINE, conn, corr, l->request, l->status, code,
				    (long long)l->up_bytes, (long long)l->down_bytes, numbers);
#undef LINE
}
