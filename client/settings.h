/* client/settings.h - What pipegate-client was told: flags, variables, the two URLs. */
#ifndef PIPEGATE_SETTINGS_H
#define PIPEGATE_SETTINGS_H

#include "client/url.h"
#include "common/cli.h"
#include "common/options.h"

#include <stdbool.h>
#include <stdint.h>

/* Which Host the app gets: the public one, the target's, or a name. */
enum host_header { HOST_KEEP, HOST_TARGET, HOST_NAME };

/* The local app, and how it is reached. */
struct target {
	char *origin;	 /* "http://localhost:3000", no slash at its end */
	char *authority; /* "localhost:3000" */
	char *base; /* path that stands before each request's, without a slash at its end; "" */
	char *url;  /* the origin with the base */
	char *unix_path; /* NULL: TCP */

	enum host_header host_header;
	const char *host_name; /* HOST_NAME */
	const char *ca_file;   /* NULL: the system's */
	bool insecure;	       /* its certificate is not checked */
	bool keep_alive;       /* its connections may carry further requests */
};

/* The broker's listener, as the web server shows it. */
struct tunnel_server {
	struct url url; /* its path may hold the token: never to be logged */
	bool tls;
	uint16_t port;
	char *shown;	  /* for the log */
	bool is_loopback; /* no proxy leads there */
	bool lost_id; /* the URL named the tunnel's public page: the id at its end is left out */

	char *connection_id; /* of the token; NULL: it cannot be read */
	char *token;	     /* for the Authorization header; NULL: it stands in the URL */
	const char *ca_file; /* NULL: the system's */
	bool insecure;	     /* its certificate is not checked */
};

/* One tunnel and its app. End with settings_fini(). */
struct settings {
	struct target target;
	struct tunnel_server server;
};

/* What the command line said; NULL where it said nothing. */
struct arguments {
	const char *target, *server, *token, *token_file, *host_header, *ca_file, *target_ca_file,
		*keep_alive;
	bool insecure, target_insecure;
};

/* The flags, variables and words of struct arguments. */
extern const struct setting settings_table[];
extern const struct operand settings_operands[];

/* 0, or EXIT_USAGE or EXIT_CONFIG after one line on stderr. Borrows the arguments. */
int settings_read(struct settings *s, const struct arguments *a) MUST_CHECK;
void settings_fini(struct settings *s);

/* Pure; for the tests. False: it is not one of the forms. End with target_fini(). */
bool target_read(struct target *t, const char *text) MUST_CHECK;
void target_fini(struct target *t);

#endif
