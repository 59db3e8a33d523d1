/* client/settings.c - see settings.h. */
#include "client/settings.h"

#include "client/base.h"
#include "client/ca_file.h"
#include "client/token.h"
#include "client/token_file.h"
#include "common/http.h"
#include "common/id.h"
#include "common/place.h"
#include "common/query.h"

#include <stdio.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	LABEL_MAX_BYTES = 63, /* of a host name (RFC 1035 2.3.4) */
};

#define AT(member) .offset = offsetof(struct arguments, member)
/* clang-format off */
const struct setting settings_table[] = {
	{SETTING_TEXT, .flag = "token-file", .argument = "PATH", AT(token_file), .help = "read the token from this file"},
	{SETTING_RAW, .flag = "connection-id", .argument = "ID", .fault = id_connection_fault, AT(connection_id),
	 .help = "name of the tunnel, if the token is for several"},
	{SETTING_RAW, .flag = "host-header", .argument = "keep|target|NAME", .standard = "keep", AT(host_header),
	 .help = "Host field for the local app: the public one, that of TARGET_URL, or NAME"},
	{SETTING_RAW, .flag = "keep-alive", .argument = "on|off", .standard = "on", AT(keep_alive),
	 .help = "keep connections to the local app for further requests"},
	{SETTING_TEXT, .flag = "ca-file", .argument = "PATH", AT(ca_file),
	 .help = "trust these certificates for the server instead of the system's"},
	{SETTING_SWITCH, .flag = "insecure", AT(insecure), .help = "do not check the server's certificate"},
	{SETTING_TEXT, .flag = "target-ca-file", .argument = "PATH", AT(target_ca_file),
	 .help = "trust these certificates for an https:// app"},
	{SETTING_SWITCH, .flag = "target-insecure", AT(target_insecure),
	 .help = "do not check the certificate of an https:// app"},
	{SETTING_NUMBER, .flag = "buffer-bytes", .argument = "N", .variable = "PIPEGATE_BUFFER_BYTES", .standard = "67108864",
	 0, INT64_C(1) << 40, AT(buffer_bytes),
	 .help = "by how much the receive windows of all request bodies together may grow; 0: not at all"},
	{SETTING_RAW, .variable = "PIPEGATE_TOKEN", AT(token), .help = "the token, unless --token-file is given"},
	SETTINGS_LOG,
	{.type = SETTING_END},
};

const struct operand settings_operands[] = {
	{"TARGET_URL", "http://HOST[:PORT][/BASE], https://..., unix:/PATH, HOST:PORT, or a port", .offset = offsetof(struct arguments, target)},
	{"SERVER_URL", "wss://HOST[:PORT][/PATH], ws://..., https://..., http://..., or no scheme (wss); "
	 "may end with ?token=TOKEN", .offset = offsetof(struct arguments, server)},
	{0},
};
/* clang-format on */

/* Returns false for what was not meant as a host name: a token, or a port in the wrong place.
 * Otherwise a token would be sent to the name server. */
static bool host_is_plausible(const char *host)
{
	size_t label_bytes = 0;

	for (const char *at = host; *at; at++) {
		label_bytes = *at == '.' ? 0 : label_bytes + 1;
		if (label_bytes > LABEL_MAX_BYTES)
			return false;
	}
	return strspn(host, "0123456789") < strlen(host) && strncmp(host, "eyJ", 3) != 0;
}

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

static bool target_full_url(struct target *t, const char *text)
{
	struct url u;
	bool good = url_split(&u, text) &&
		    (strcmp(u.scheme, "http") == 0 || strcmp(u.scheme, "https") == 0) &&
		    strchr(u.path, '?') == NULL && http_value_valid(u.path, strlen(u.path)) &&
		    strchr(u.path, ' ') == NULL && base_holds(u.path, u.path, strlen(u.path));

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

/* HOST:PORT, or :PORT on this machine, with an optional path. */
static bool target_host_and_port(struct target *t, const char *text)
{
	char *url = join(*text == ':' ? "http://localhost" : "http://", text);
	struct url u;
	bool good = url_split(&u, url) && u.port != 0 && host_is_plausible(u.host) &&
		    target_full_url(t, url);

	url_fini(&u);
	free(url);
	return good;
}

static bool target_url(struct target *t, const char *text)
{
	return strstr(text, "://") != NULL ? target_full_url(t, text)
					   : target_host_and_port(t, text);
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

/* Recognises "token=" as the server does: the key in any encoding. */
static bool is_token_pair(const char *pair, size_t *skipped)
{
	size_t bytes = strcspn(pair, "=&");
	char key[16]; /* "%74%6f%6b%65%6e" is the longest */

	if (pair[bytes] != '=' || bytes >= sizeof key)
		return false;
	memcpy(key, pair, bytes);
	*skipped = bytes + 1;
	return query_percent_decode(key, bytes, true) == 5 && memcmp(key, "token", 5) == 0;
}

/* Finds the first token in the query that is not empty. NULL: there is no "token=". */
static const char *query_token(const char *path, size_t *bytes)
{
	const char *empty = NULL;

	*bytes = 0;
	for (const char *at = strchr(path, '?'); at != NULL; at = strchr(at, '&')) {
		size_t skipped;
		at++;
		if (!is_token_pair(at, &skipped))
			continue;
		*bytes = strcspn(at + skipped, "&");
		if (*bytes > 0)
			return at + skipped;
		empty = at + skipped;
	}
	return empty;
}

/* Leaves out the query, which may hold a token. */
static char *make_shown(const struct url *u)
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

static bool is_this_machine(const struct url *u)
{
	struct place p;

	return place_read_host(&p, SCHEME_HTTP, u->authority, strlen(u->authority)) &&
	       place_is_this_machine(&p);
}

/* Accepts ws and wss; http and https, as a browser shows them; no scheme means wss. Returns false
 * otherwise. */
static bool read_server_url(struct url *u, const char *text)
{
	bool has_scheme = strstr(text, "://") != NULL;
	char *whole = join(has_scheme ? "" : "wss://", text);
	bool good = url_split(u, whole) && (has_scheme || host_is_plausible(u->host));
	const char *scheme = NULL;

	free(whole);
	if (!good)
		return false;
	if (strcmp(u->scheme, "ws") == 0 || strcmp(u->scheme, "http") == 0)
		scheme = "ws";
	else if (strcmp(u->scheme, "wss") == 0 || strcmp(u->scheme, "https") == 0)
		scheme = "wss";
	if (scheme == NULL)
		return false;
	free(u->scheme);
	u->scheme = xstrdup(scheme);
	return http_value_valid(u->path, strlen(u->path)) && strchr(u->path, ' ') == NULL;
}

static int read_server(struct tunnel_server *s, const char *text)
{
	if (!read_server_url(&s->url, text)) {
		cli_complain("SERVER_URL",
			     "must be [wss://|ws://|https://|http://]HOST[:PORT][/PATH]", text);
		return EXIT_USAGE;
	}
	s->tls = strcmp(s->url.scheme, "wss") == 0;
	s->port = s->url.port ? s->url.port : (s->tls ? 443 : 80);
	s->is_loopback = is_this_machine(&s->url);
	s->shown = make_shown(&s->url);
	return 0;
}

/* --- the token --- */

static int read_token_file(struct settings *s, const char *name, const char *path)
{
	struct token_file f = {0};
	const char *fault = f.why;

	if (token_file_read(&f, path, TOKEN_FILE_WAIT_MS))
		s->server.token = token_find(f.text, &fault);
	if (s->server.token == NULL)
		cli_complain(name, fault, path);
	if (f.is_public)
		s->server.public_token_file = path;
	token_file_fini(&f);
	return s->server.token != NULL ? 0 : EXIT_CONFIG;
}

enum { CREDENTIAL_NONE_BYTES = 2 };

/* The token of a systemd service (LoadCredential=token:PATH). False: there is none, or it is as
 * short as the "-" that pipegate-client@.service has where there is no file. */
static bool has_credential(char path[PATH_MAX])
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	struct stat status;

	return directory != NULL && snprintf(path, PATH_MAX, "%s/token", directory) < PATH_MAX &&
	       stat(path, &status) == 0 && status.st_size > CREDENTIAL_NONE_BYTES;
}

static int read_token(struct settings *s, const struct arguments *a)
{
	char credential[PATH_MAX];
	const char *variable = a->token, *fault, *in_url;
	size_t bytes;

	if (a->token_file != NULL)
		return read_token_file(s, "--token-file", a->token_file);
	if (variable != NULL && *variable != '\0') {
		s->server.token = token_find(variable, &fault);
		return s->server.token != NULL ? 0 : cli_complain("PIPEGATE_TOKEN", fault, NULL);
	}
	if (has_credential(credential))
		return read_token_file(s, "CREDENTIALS_DIRECTORY", credential);
	in_url = query_token(s->server.url.path, &bytes);
	if (in_url != NULL) {
		fault = token_fault(in_url, bytes);
		return fault == NULL ? 0 : cli_complain("token= in SERVER_URL", fault, NULL);
	}
	if (variable != NULL)
		return cli_complain("PIPEGATE_TOKEN", "is empty", NULL);
	return cli_complain("PIPEGATE_TOKEN",
			    "no token: set it, or use --token-file or ?token= in SERVER_URL", NULL);
}

/* Removes the connection id from the end of the path: SERVER_URL was the tunnel's public URL. The
 * app behind that must not receive the token; the server listens one level above. */
static void remove_connection_id(struct settings *s, const char *asked_for)
{
	char *path = s->server.url.path;
	size_t bytes = strcspn(path, "?"), end = bytes, token_bytes = 0;
	const char *token = s->server.token;

	if (token != NULL)
		token_bytes = strlen(token);
	else
		token = query_token(path, &token_bytes);
	char *id = asked_for != NULL ? xstrdup(asked_for) : token_subject(token, token_bytes);

	while (end > 1 && path[end - 1] == '/')
		end--;
	size_t id_bytes = id != NULL ? strlen(id) : 0;
	if (!id_connection_valid(id, id_bytes))
		id_bytes = 0;
	if (id_bytes > 0)
		s->server.connection_id = xstrdup(id);
	if (id_bytes > 0 && id_bytes < end && path[end - id_bytes - 1] == '/' &&
	    memcmp(path + end - id_bytes, id, id_bytes) == 0) {
		memmove(path + end - id_bytes, path + bytes, strlen(path + bytes) + 1);
		s->server.id_removed = true;
		free(s->server.shown);
		s->server.shown = make_shown(&s->server.url);
	}
	free(id);
}

/* Names the tunnel in the query: the broker reads it there (pipegate-broker(8)). */
static void ask_for_id(struct settings *s, const char *id)
{
	char *path = s->server.url.path, *longer = NULL;

	if (asprintf(&longer, "%s%cid=%s", path, strchr(path, '?') ? '&' : '?', id) < 0)
		out_of_memory();
	free(path);
	s->server.url.path = longer;
}

static int read_host_header(struct settings *s, const char *text)
{
	if (text == NULL || strcmp(text, "keep") == 0) {
		s->target.host_header = HOST_KEEP;
	} else if (strcmp(text, "target") == 0) {
		s->target.host_header = HOST_TARGET;
	} else if (*text != '\0' && http_value_valid(text, strlen(text)) &&
		   strpbrk(text, " \t/") == NULL) {
		s->target.host_header = HOST_NAME;
		s->target.host_name = text;
	} else {
		cli_complain("--host-header", "must be target, keep or a host name", text);
		return EXIT_USAGE;
	}
	return 0;
}

static int read_keep_alive(struct settings *s, const char *text)
{
	s->target.keep_alive = text == NULL || strcmp(text, "on") == 0;
	if (s->target.keep_alive || strcmp(text, "off") == 0)
		return 0;
	cli_complain("--keep-alive", "must be on or off", text);
	return EXIT_USAGE;
}

static int check_ca_file(const char *flag, const char *path)
{
	const char *fault = path != NULL ? ca_file_fault(path) : NULL;

	return fault == NULL ? 0 : cli_complain(flag, fault, path);
}

int settings_read(struct settings *s, const struct arguments *a)
{
	*s = (struct settings){0};
	if (!target_read(&s->target, a->target)) {
		cli_complain("TARGET_URL",
			     "must be [http[s]://]HOST:PORT[/BASE], unix:/PATH or a port",
			     a->target);
		return EXIT_USAGE;
	}
	s->target.ca_file = a->target_ca_file;
	s->target.insecure = a->target_insecure;
	s->buffer_bytes = a->buffer_bytes;
	int result = read_server(&s->server, a->server);
	s->server.ca_file = a->ca_file;
	s->server.insecure = a->insecure;
	if (result == 0)
		result = read_host_header(s, a->host_header);
	if (result == 0)
		result = read_keep_alive(s, a->keep_alive);
	if (result == 0)
		result = read_token(s, a);
	if (result == 0)
		remove_connection_id(s, a->connection_id);
	if (result == 0 && a->connection_id != NULL)
		ask_for_id(s, a->connection_id);
	if (result == 0)
		result = check_ca_file("--ca-file", s->server.ca_file);
	if (result == 0)
		result = check_ca_file("--target-ca-file", s->target.ca_file);
	return result;
}

void settings_fini(struct settings *s)
{
	target_fini(&s->target);
	url_fini(&s->server.url);
	free(s->server.shown);
	free(s->server.connection_id);
	free(s->server.token);
}
