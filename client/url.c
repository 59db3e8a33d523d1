/* client/url.c - see url.h. */
#include "client/url.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool has(const struct http_parser_url *p, enum http_parser_url_fields field)
{
	return p->field_set & (1u << field);
}

static char *cut(const char *text, const struct http_parser_url *p,
		 enum http_parser_url_fields field)
{
	char *part = strndup(text + p->field_data[field].off, p->field_data[field].len);

	CHECK(part != NULL);
	return part;
}

bool url_split(struct url *u, const char *text)
{
	struct http_parser_url p;

	*u = (struct url){0};
	http_parser_url_init(&p);
	if (strlen(text) > 32 * 1024 || http_parser_parse_url(text, strlen(text), 0, &p) != 0 ||
	    !has(&p, UF_SCHEMA) || !has(&p, UF_HOST) || has(&p, UF_USERINFO) ||
	    (has(&p, UF_PORT) && p.port == 0) || strchr(text, '#') != NULL)
		return false;
	u->scheme = cut(text, &p, UF_SCHEMA);
	for (char *at = u->scheme; *at; at++)
		*at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
	u->host = cut(text, &p, UF_HOST);
	u->port = has(&p, UF_PORT) ? p.port : 0;

	const char *authority = strstr(text, "://") + 3;
	size_t bytes = strcspn(authority, "/?");
	const char *rest = authority + bytes;
	size_t rest_bytes = strlen(rest);
	u->authority = strndup(authority, bytes);
	u->path = xmalloc(rest_bytes + 2);
	u->path[0] = '/';
	bool slashed = *rest == '/';
	memcpy(u->path + !slashed, rest, rest_bytes);
	u->path[rest_bytes + !slashed] = '\0';
	CHECK(u->authority != NULL);
	return strchr(u->authority, '@') == NULL; /* http_parser accepts an empty user name */
}

void url_fini(struct url *u)
{
	free(u->scheme);
	free(u->host);
	free(u->authority);
	free(u->path);
	*u = (struct url){0};
}
