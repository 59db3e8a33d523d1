/* The command line of the client: URLs, targets, everything together. */
#include "client/settings.h"

#include "tests/fuzz/fuzz.h"

static void check_url(const char *text)
{
	struct url u;

	if (url_split(&u, text)) {
		CHECK(*u.scheme != '\0' && *u.host != '\0' && *u.path == '/');
		CHECK(strstr(u.authority, u.host) != NULL && strstr(text, u.authority) != NULL);
		CHECK(strpbrk(u.authority, "/?#@") == NULL && strchr(u.path, '#') == NULL);
		for (const char *at = u.scheme; *at; at++)
			CHECK(*at < 'A' || *at > 'Z');
	}
	url_fini(&u);
}

static void check_target(const char *text)
{
	struct target t;

	if (target_read(&t, text)) {
		size_t base_bytes = strlen(t.base);
		CHECK(strncmp(t.origin, "http", 4) == 0);
		CHECK(t.origin[strlen(t.origin) - 1] != '/' && *t.authority != '\0');
		CHECK(base_bytes == 0 || (*t.base == '/' && t.base[base_bytes - 1] != '/'));
		CHECK(t.unix_path == NULL || *t.unix_path == '/');
	}
	target_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};
	char *target = input_line(&in), *server = input_line(&in), *host = input_line(&in);
	char *token = input_line(&in);
	struct arguments a = {
		.target = target, .server = server, .token = token, .host_header = host};
	struct settings s;

	if (target != NULL) {
		check_url(target);
		check_target(target);
	}
	if (server != NULL) {
		check_url(server);
		setenv("PIPEGATE_TOKEN", token ? token : "", 1);
		if (settings_read(&s, &a) == 0) {
			CHECK(s.server.port > 0 && strchr(s.server.shown, '?') == NULL);
			/* "...": the token is a part of the URL. */
			CHECK(strncmp(s.server.shown, "ws", 2) == 0 ||
			      strcmp(s.server.shown, "...") == 0);
			CHECK(s.server.token == NULL ||
			      (token != NULL && strstr(token, s.server.token) != NULL &&
			       strpbrk(s.server.token, " \t\r\n") == NULL));
			CHECK(s.server.token != NULL ||
			      strstr(s.server.url.path, "token=") != NULL);
		}
		settings_fini(&s);
	}
	free(target);
	free(server);
	free(host);
	free(token);
	return 0;
}
