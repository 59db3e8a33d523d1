/* client/settings.h - What pipegate-client was told: flags, variables, the two URLs. */
#ifndef PIPEGATE_SETTINGS_H
#define PIPEGATE_SETTINGS_H

#include "client/url.h"
#include "common/cli.h"
#include "common/options.h"

#include <stdbool.h>
#include <stdint.h>

/* The local app. */
struct target {
	char *origin;	 /* "http://localhost:3000", no slash at its end */
	char *authority; /* "localhost:3000" */
	char *base; /* path that stands before each request's, without a slash at its end; "" */
	char *url;  /* the origin with the base */
	char *unix_path; /* NULL: TCP */
};

/* The broker's listener, as the web server shows it. */
struct server_url {
	struct url url; /* its path may hold the token: never to be logged */
	bool tls;
	uint16_t port;
	char *shown;	  /* for the log */
	bool is_loopback; /* no proxy leads there */
	bool lost_id; /* the URL named the tunnel's public page: the id at its end is left out */
};

enum host_header { HOST_KEEP, HOST_TARGET, HOST_NAME };

/* End with settings_fini(). */
struct settings {
	struct target target;
	struct server_url server;
	char *connection_id; /* of the token; NULL: it cannot be read */
	char *token;	     /* for the Authorization header; NULL: it stands in the URL */
	enum host_header host_header;
	const char *host_name;	    /* HOST_NAME */
	const char *ca_file;	    /* for the server; NULL: the system's */
	bool insecure;		    /* the server's certificate is not checked */
	const char *target_ca_file; /* the same for the local app */
	bool target_insecure;
	bool keep_alive; /* connections to the app may carry further requests */
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
