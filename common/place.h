/* common/place.h - Parses and compares the origin of a URL, which can be written in several ways
 * (RFC 9110 4.2.3), and its path. Pure. */
#ifndef PIPEGATE_PLACE_H
#define PIPEGATE_PLACE_H

#include "common/check.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/* Borrows the URL. */
struct place {
	enum place_scheme { SCHEME_LEFT_OUT, SCHEME_HTTP, SCHEME_HTTPS } scheme;
	const char *host; /* an IPv6 address with its brackets; without a final dot */
	size_t host_bytes;
	long long port;		 /* 0: the scheme's default */
	size_t bytes;		 /* length of the URL up to its path */
	bool is_address;	 /* in any notation of inet_aton(3) and inet_pton(3) */
	bool is_here;		 /* a name that apps use for the machine they run on */
	struct in6_addr address; /* set if is_address */
};

/* Reads "http://host:port" or "//host:port" at the start of a URL. False: it has another form, or
 * contains a user name. */
bool place_read(struct place *p, const char *url, size_t bytes) MUST_CHECK;

/* Reads "host:port", the form of the Host field. */
bool place_read_host(struct place *p, enum place_scheme scheme, const char *host,
		     size_t bytes) MUST_CHECK;

/* Returns whether both name the same host, in any case and notation. All names of this machine are
 * equal: "localhost", 127.0.0.1, ::1, and 0.0.0.0 and ::, which servers bound to every address
 * print. */
bool place_same_host(const struct place *a, const struct place *b);

/* Returns whether the host is in 127.0.0.0/8, ::1 or "localhost". */
bool place_is_loopback(const struct place *p);

/* Returns whether a connection to the host stays on this machine: the above, 0.0.0.0, ::, names
 * below "localhost", and the names for the loopback addresses in Debian's /etc/hosts. */
bool place_is_this_machine(const struct place *p);

/* Returns whether a URL has the origin. http and https are equal if the ports are the same, or if
 * each has its scheme's default port. False if `origin` is empty (all 0). */
bool place_is_at(const struct place *url, const struct place *origin);

/* Returns whether a path equals `top` or is below it. */
bool place_is_below(const char *path, size_t bytes, const char *top, size_t top_bytes);

/* Returns whether a URL is an absolute path. "//host" is not, nor is "/\\host", which browsers
 * treat the same. */
bool place_is_path(const char *url, size_t bytes);

#endif
