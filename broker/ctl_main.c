/* broker/ctl_main.c - pipegate-ctl: shows what a broker does, and tells it what to do, over its
 * control socket (control.h). */
#include "broker/ctl_table.h"
#include "common/cli.h"
#include "common/endpoint.h"
#include "common/options.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	RESPONSE_MAX_BYTES = 256 << 20,
	CONNECT_TIMEOUT_S = 5,
	RESPONSE_TIMEOUT_S = 30,
};

struct ctl {
	const char *control; /* unix:PATH */
	const char *command, *argument;
	const char *jti, *sub, *issued_before;
	bool json;
};

#define AT(member) .offset = offsetof(struct ctl, member)

static const struct setting settings[] = {
	{SETTING_TEXT, .flag = "control", .argument = "unix:PATH", .variable = "PIPEGATE_CONTROL",
	 .standard = "unix:/run/pipegate/control.sock", AT(control),
	 .help = "the broker's control socket"},
	{SETTING_SWITCH, .flag = "json", AT(json), .help = "print JSON instead of a table"},
	{SETTING_TEXT, .flag = "jti", .argument = "JTI", AT(jti), .help = "revoke: this token"},
	{SETTING_TEXT, .flag = "sub", .argument = "ID", AT(sub),
	 .help = "revoke: the tokens of this sub"},
	{SETTING_TEXT, .flag = "issued-before", .argument = "TIME", AT(issued_before),
	 .help = "revoke: only tokens issued before TIME: 2026-01-31T12:00:00Z, or seconds since "
		 "1970"},
	{.type = SETTING_END},
};

static const struct operand operands[] = {
	{"COMMAND", "list, show, kick, revoke, reload, drain or log",
	 .offset = offsetof(struct ctl, command)},
	{"ID", "the connection id: of show and kick; of list and log it may be given",
	 .offset = offsetof(struct ctl, argument), .optional = true},
	{0},
};

static void print_version(void)
{
	printf("pipegate-ctl %s (libcurl %s, jansson %s)\n", PIPEGATE_VERSION,
	       curl_version_info(CURLVERSION_NOW)->version, JANSSON_VERSION);
}

static const struct program program = {
	.name = "pipegate-ctl",
	.summary = "Shows what a running pipegate-broker does, and tells it what to do.",
	.settings = settings,
	.operands = operands,
	.notes = "list             the tunnels\n"
		 "show ID          one connection id: its tunnels and its requests\n"
		 "kick ID          close its tunnels; their clients connect again\n"
		 "revoke           refuse tokens, and close their tunnels: --jti, --sub, "
		 "--issued-before\n"
		 "reload           read the keys again, as SIGHUP does\n"
		 "drain            stop the broker, as SIGTERM does\n"
		 "log [ID]         the log's lines of one id, or all, as they are written",
	.print_version = print_version,
};

/* --- the request --- */

struct ctl_response {
	char *text;
	size_t bytes;
	FILE *live; /* print lines as they come; NULL: keep them in `text` */
	bool at_line_start;
};

/* Prints what is not an empty line: those only keep the connection in use. */
static void print_lines(struct ctl_response *r, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (data[i] != '\n' || !r->at_line_start)
			putc(data[i], r->live);
		r->at_line_start = data[i] == '\n';
	}
	(void)fflush(r->live);
}

static size_t on_data(char *data, size_t one, size_t bytes, void *ctx)
{
	struct ctl_response *r = ctx;

	(void)one;
	if (r->live != NULL) {
		print_lines(r, data, bytes);
		return ferror(r->live) ? 0 : bytes;
	}
	if (r->bytes + bytes > RESPONSE_MAX_BYTES)
		return 0;
	r->text = xrealloc(r->text, r->bytes + bytes + 1);
	memcpy(r->text + r->bytes, data, bytes);
	r->bytes += bytes;
	r->text[r->bytes] = '\0';
	return bytes;
}

/* Appends `name`=`value` to the URL; nothing if the value is NULL. */
static void add_argument(CURL *curl, char **url, const char *name, const char *value)
{
	char *escaped = value ? curl_easy_escape(curl, value, 0) : NULL, *longer = NULL;

	if (escaped == NULL)
		return;
	if (asprintf(&longer, "%s%c%s=%s", *url, strchr(*url, '?') ? '&' : '?', name, escaped) < 0)
		out_of_memory();
	curl_free(escaped);
	free(*url);
	*url = longer;
}

struct ctl_call {
	const char *method, *path;
	const char *id, *jti, *sub, *issued_before; /* arguments; NULL: none */
};

/* Returns the status of the response, or 0 after one line on stderr. */
static long perform(const struct ctl *ctl, const struct ctl_call *call, struct ctl_response *r)
{
	CURL *curl = curl_easy_init();
	char error[CURL_ERROR_SIZE] = "", *url = NULL;
	long status = 0;

	CHECK(curl != NULL);
	if (asprintf(&url, "http://localhost%s", call->path) < 0)
		out_of_memory();
	add_argument(curl, &url, "id", call->id);
	add_argument(curl, &url, "jti", call->jti);
	add_argument(curl, &url, "sub", call->sub);
	add_argument(curl, &url, "issued_before", call->issued_before);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, ctl->control + strlen("unix:"));
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, r->live ? 0L : (long)RESPONSE_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK) {
		status = 0;
		fprintf(stderr, "pipegate-ctl: no broker at %s: %s\n", ctl->control,
			*error ? error : curl_easy_strerror(code));
	}
	curl_easy_cleanup(curl);
	free(url);
	return status;
}

/* Asks the broker. Returns its response, or NULL after one line on stderr; *good says whether the
 * broker has done what it was asked. */
static json_t *ask(const struct ctl *ctl, const struct ctl_call *call, bool *good)
{
	struct ctl_response r = {0};
	json_error_t error;
	json_t *body = NULL;

	long status = perform(ctl, call, &r);
	*good = status == 200;
	if (status != 0)
		body = json_loadb(r.text ? r.text : "", r.bytes, 0, &error);
	if (status != 0 && !json_is_object(body)) {
		fprintf(stderr, "pipegate-ctl: what listens at %s is not a broker\n", ctl->control);
		json_decref(body);
		body = NULL;
	}
	free(r.text);
	return body;
}

/* Prints why the broker refused. */
static void print_refusal(const json_t *body)
{
	const char *detail = json_string_value(json_object_get(body, "detail"));

	fprintf(stderr, "pipegate-ctl: %s\n", detail ? detail : "the broker refuses");
}

/* --- commands --- */

static int finish(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

/* Asks, and prints the response as JSON or by `print`. Returns the exit code. */
static int show(const struct ctl *ctl, const struct ctl_call *call,
		void (*print)(const json_t *body))
{
	bool good;
	json_t *body = ask(ctl, call, &good);

	if (body == NULL)
		return 1;
	if (ctl->json) {
		json_dumpf(body, stdout, JSON_INDENT(1));
		putchar('\n');
	} else if (good) {
		print(body);
	}
	if (!good)
		print_refusal(body);
	json_decref(body);
	return finish() == 0 && good ? 0 : 1;
}

static void print_closed(const json_t *body)
{
	printf("Closed %lld tunnels.\n",
	       (long long)json_integer_value(json_object_get(body, "closed")));
}

static void print_revoked(const json_t *body)
{
	print_closed(body);
	if (!json_is_true(json_object_get(body, "kept")))
		puts("In force until the broker stops: PIPEGATE_STATE is not set there.");
}

static void print_reloaded(const json_t *body)
{
	(void)body;
	puts("The keys are read again.");
}

static void print_draining(const json_t *body)
{
	(void)body;
	puts("The broker stops once its requests have ended.");
}

/* Seconds since 1970 as text, from those or an RFC 3339 time in UTC. NULL: it is neither. */
static const char *read_time(const char *text, char out[24])
{
	struct tm broken = {0};
	int64_t seconds;
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &broken);

	if (end != NULL && *end == '\0')
		seconds = timegm(&broken);
	else if (!cli_parse_number(text, 1, INT64_C(1) << 40, &seconds))
		return NULL;
	snprintf(out, 24, "%lld", (long long)seconds);
	return out;
}

static int revoke_tokens(const struct ctl *ctl)
{
	char seconds[24];
	struct ctl_call call = {"POST", "/v1/revoke", .jti = ctl->jti, .sub = ctl->sub};

	if (ctl->jti == NULL && ctl->sub == NULL && ctl->issued_before == NULL)
		return cli_misuse("revoke needs --jti, --sub or --issued-before", "revoke");
	if (ctl->issued_before != NULL &&
	    (call.issued_before = read_time(ctl->issued_before, seconds)) == NULL)
		return cli_misuse("--issued-before is not a time", ctl->issued_before);
	return show(ctl, &call, print_revoked);
}

static int follow_log(const struct ctl *ctl)
{
	struct ctl_response r = {.live = stdout, .at_line_start = true};
	const struct ctl_call call = {"GET", "/v1/log", .id = ctl->argument};

	return perform(ctl, &call, &r) == 200 ? 0 : 1;
}

/* The commands; `path` NULL: a function of its own. */
static const struct command {
	const char *name, *method, *path;
	bool needs_id, may_have_id;
	void (*print)(const json_t *body);
	int (*run)(const struct ctl *ctl);
} commands[] = {
	{"list", "GET", "/v1/tunnels", false, true, ctl_table_tunnels, NULL},
	{"show", "GET", "/v1/id", true, true, ctl_table_id, NULL},
	{"kick", "POST", "/v1/kick", true, true, print_closed, NULL},
	{"reload", "POST", "/v1/reload", false, false, print_reloaded, NULL},
	{"drain", "POST", "/v1/drain", false, false, print_draining, NULL},
	{"revoke", NULL, NULL, false, false, NULL, revoke_tokens},
	{"log", NULL, NULL, false, true, NULL, follow_log},
};

static int run(const struct ctl *ctl)
{
	const struct command *c = NULL;

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(ctl->command, commands[i].name) == 0)
			c = &commands[i];
	}
	if (c == NULL)
		return cli_misuse("unknown command", ctl->command);
	if (c->needs_id && ctl->argument == NULL)
		return cli_misuse("needs a connection id", ctl->command);
	if (!c->may_have_id && ctl->argument != NULL)
		return cli_misuse("takes no argument", ctl->command);
	if (c->run != NULL)
		return c->run(ctl);
	const struct ctl_call call = {c->method, c->path, .id = ctl->argument};
	return show(ctl, &call, c->print);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	int result = options_read(&program, argc, argv, &ctl);

	if (result >= 0)
		return result;
	if (strncmp(ctl.control, "unix:", 5) != 0 || !endpoint_valid(ctl.control))
		return cli_complain("--control (PIPEGATE_CONTROL)", "not unix:PATH", ctl.control);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	result = run(&ctl);
	curl_global_cleanup();
	return result;
}
