/* client/settings.h - The settings of pipegate-client: flags, variables, and the two URLs. */
#ifndef PIPEGATE_SETTINGS_H
#define PIPEGATE_SETTINGS_H

#include "client/url.h"
#include "common/cli.h"
#include "common/options.h"

#include <stdbool.h>
#include <stdint.h>

/* Which Host the app receives: the public one, the target's, or a given name. */
enum host_header { HOST_KEEP, HOST_TARGET, HOST_NAME };

/* The local app, and how to connect to it. */
struct target {
	char *origin;	 /* "http://localhost:3000", without a slash at the end */
	char *authority; /* "localhost:3000" */
	/* Path in front of each request's path, without a slash at the end; "" if there is none. */
	char *base;
	char *url;	 /* origin and base */
	char *unix_path; /* NULL: TCP */

	enum host_header host_header;
	const char *host_name; /* HOST_NAME */
	const char *ca_file;   /* NULL: the system's */
	bool insecure;	       /* its certificate is not checked */
	bool keep_alive;       /* a connection may carry several requests */
};

/* The broker's listener, as the web server publishes it. */
struct tunnel_server {
	struct url url; /* its path may hold the token: never log it */
	bool tls;
	uint16_t port;
	char *shown;	  /* for the log */
	bool is_loopback; /* do not use a proxy */
	/* SERVER_URL was the tunnel's public URL; the connection id at its end is removed. */
	bool id_removed;

	char *connection_id; /* asked for, or that of the token; NULL: unreadable */
	/* Sent in the Authorization header; NULL: it is in the URL. */
	char *token;
	/* Of --token-file, if every user of this machine can read it; NULL otherwise. */
	const char *public_token_file;
	const char *ca_file; /* NULL: the system's */
	bool insecure;	     /* its certificate is not checked */
};

/* One tunnel and its app. End with settings_fini(). */
struct settings {
	struct target target;
	struct tunnel_server server;
	int64_t buffer_bytes; /* out of which receive windows grow */
};

/* The command line and environment; NULL where nothing was given. */
struct arguments {
	const char *target, *server, *token, *token_file, *connection_id, *host_header, *ca_file,
		*target_ca_file, *keep_alive;
	bool insecure, target_insecure;
	int64_t buffer_bytes;
};

/* The flags, variables and operands of struct arguments. */
extern const struct setting settings_table[];
extern const struct operand settings_operands[];

/* Returns 0, or EXIT_USAGE or EXIT_CONFIG after one line on stderr. Borrows the arguments. */
int settings_read(struct settings *s, const struct arguments *a) MUST_CHECK;
void settings_fini(struct settings *s);

/* Pure; exported for tests. Returns false if the text has none of the forms. End with
 * target_fini(). */
bool target_read(struct target *t, const char *text) MUST_CHECK;
void target_fini(struct target *t);

#endif
