/* client/settings.c - see settings.h. */
#include "client/settings.h"

#include "common/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { TOKEN_MAX_BYTES = 12 * 1024 };

/* --- the local app --- */

static char *join(const char *a, const char *b)
{
	char *text = xmalloc(strlen(a) + strlen(b) + 1);

	strcpy(text, a);
	return strcat(text, b);
}

static bool target_unix(struct target *t, const char *path)
{
	struct sockaddr_un address;

	if (*path != '/' || strlen(path) >= sizeof address.sun_path)
		return false;
	t->unix_path = xstrdup(path);
	t->authority = xstrdup("localhost");
	t->origin = xstrdup("http://localhost");
	t->base = xstrdup("");
	return true;
}

static bool target_port(struct target *t, const char *text)
{
	int64_t port;

	if (!cli_parse_number(text, 1, 65535, &port))
		return false;
	t->authority = join("localhost:", text);
	t->origin = join("http://", t->authority);
	t->base = xstrdup("");
	return true;
}

static bool target_url(struct target *t, const char *text)
{
	struct url u;
	bool good = url_split(&u, text) &&
		    (strcmp(u.scheme, "http") == 0 || strcmp(u.scheme, "https") == 0) &&
		    strchr(u.path, '?') == NULL && http_value_valid(u.path, strlen(u.path)) &&
		    strchr(u.path, ' ') == NULL;

	if (good) {
		char *scheme = join(u.scheme, "://");
		t->authority = xstrdup(u.authority);
		t->origin = join(scheme, u.authority);
		t->base = xstrdup(u.path);
		for (size_t bytes = strlen(t->base); bytes > 0 && t->base[bytes - 1] == '/';
		     bytes--)
			t->base[bytes - 1] = '\0';
		free(scheme);
	}
	url_fini(&u);
	return good;
}

bool target_read(struct target *t, const char *text)
{
	*t = (struct target){0};
	bool good = strncmp(text, "unix:", 5) == 0 ? target_unix(t, text + 5)
						   : target_port(t, text) || target_url(t, text);
	if (good)
		t->url = join(t->origin, t->base);
	return good;
}

void target_fini(struct target *t)
{
	free(t->origin);
	free(t->authority);
	free(t->base);
	free(t->url);
	free(t->unix_path);
	*t = (struct target){0};
}

/* --- the server --- */

static bool has_token(const char *path)
{
	for (const char *at = strchr(path, '?'); at != NULL; at = strchr(at, '&')) {
		at++;
		if (strncmp(at, "token=", 6) == 0 && at[6] != '\0' && at[6] != '&')
			return true;
	}
	return false;
}

/* Without the query: that is where a token may be, if not elsewhere. */
static char *show(const struct url *u)
{
	size_t path_bytes = strcspn(u->path, "?");
	size_t bytes = strlen(u->scheme) + strlen(u->authority) + path_bytes + 4;
	char *text = xmalloc(bytes);
	char shown[256];

	snprintf(text, bytes, "%s://%s%.*s", u->scheme, u->authority, (int)path_bytes, u->path);
	cli_show(shown, sizeof shown, text);
	free(text);
	return xstrdup(shown);
}

static int read_server(struct server *s, const char *text)
{
	if (!url_split(&s->url, text) ||
	    (strcmp(s->url.scheme, "ws") != 0 && strcmp(s->url.scheme, "wss") != 0) ||
	    !http_value_valid(s->url.path, strlen(s->url.path)) ||
	    strchr(s->url.path, ' ') != NULL) {
		cli_complain("SERVER_URL", "not a ws:// or wss:// URL", text);
		return EXIT_USAGE;
	}
	s->tls = strcmp(s->url.scheme, "wss") == 0;
	s->port = s->url.port ? s->url.port : (s->tls ? 443 : 80);
	s->shown = show(&s->url);
	return 0;
}

/* --- the token --- */

static bool token_is_possible(const char *token)
{
	for (const char *at = token; *at; at++) {
		if (*at <= ' ' || *at > '~')
			return false;
	}
	return *token != '\0' && strlen(token) <= TOKEN_MAX_BYTES;
}

/* The first line of the file. NULL: `why` says why not. */
static char *read_first_line(const char *path, char *why, size_t why_bytes)
{
	char *text = xcalloc(1, TOKEN_MAX_BYTES + 2);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, TOKEN_MAX_BYTES + 1);

	if (got < 0) {
		snprintf(why, why_bytes, "%s", strerror(errno));
		free(text);
		text = NULL;
	} else {
		text[strcspn(text, "\r\n")] = '\0';
	}
	if (fd >= 0)
		close(fd);
	return text;
}

static int read_token(struct settings *s, const struct arguments *a)
{
	const char *variable = getenv("PIPEGATE_TOKEN");
	char why[160] = "";

	if (a->token_file != NULL) {
		s->token = read_first_line(a->token_file, why, sizeof why);
		if (s->token == NULL)
			return cli_complain("--token-file", why, a->token_file);
		if (!token_is_possible(s->token))
			return cli_complain("--token-file", "holds no token", a->token_file);
	} else if (variable != NULL && *variable != '\0') {
		if (!token_is_possible(variable))
			return cli_complain("PIPEGATE_TOKEN", "cannot be a token", NULL);
		s->token = xstrdup(variable);
	} else if (!has_token(s->server.url.path)) {
		return cli_complain(
			"PIPEGATE_TOKEN",
			"no token: set it, or use --token-file or ?token= in SERVER_URL", NULL);
	}
	return 0;
}

static int read_host_header(struct settings *s, const char *text)
{
	if (text == NULL || strcmp(text, "keep") == 0) {
		s->host_header = HOST_KEEP;
	} else if (strcmp(text, "target") == 0) {
		s->host_header = HOST_TARGET;
	} else if (*text != '\0' && http_value_valid(text, strlen(text)) &&
		   strpbrk(text, " \t/") == NULL) {
		s->host_header = HOST_NAME;
		s->host_name = text;
	} else {
		cli_complain("--host-header", "neither target, keep nor a host name", text);
		return EXIT_USAGE;
	}
	return 0;
}

static int read_keep_alive(struct settings *s, const char *text)
{
	s->keep_alive = text == NULL || strcmp(text, "on") == 0;
	if (s->keep_alive || strcmp(text, "off") == 0)
		return 0;
	cli_complain("--keep-alive", "neither on nor off", text);
	return EXIT_USAGE;
}

int settings_read(struct settings *s, const struct arguments *a)
{
	*s = (struct settings){.ca_file = a->ca_file, .insecure = a->insecure};
	if (!target_read(&s->target, a->target)) {
		cli_complain("TARGET_URL",
			     "neither http(s)://HOST[:PORT][/BASE], unix:/PATH nor a port",
			     a->target);
		return EXIT_USAGE;
	}
	int result = read_server(&s->server, a->server);
	if (result == 0)
		result = read_host_header(s, a->host_header);
	if (result == 0)
		result = read_keep_alive(s, a->keep_alive);
	if (result == 0)
		result = read_token(s, a);
	if (result == 0 && s->ca_file != NULL && access(s->ca_file, R_OK) != 0)
		result = cli_complain("--ca-file", strerror(errno), s->ca_file);
	return result;
}

void settings_fini(struct settings *s)
{
	target_fini(&s->target);
	url_fini(&s->server.url);
	free(s->server.shown);
	free(s->token);
}
