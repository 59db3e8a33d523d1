/* common/place.h - Where a URL points to: an origin, which has several spellings (RFC 9110
 * 4.2.3), and a path. Pure. */
#ifndef PIPEGATE_PLACE_H
#define PIPEGATE_PLACE_H

#include "common/check.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/* Borrows the URL. */
struct place {
	enum place_scheme { SCHEME_LEFT_OUT, SCHEME_HTTP, SCHEME_HTTPS } scheme;
	const char *host; /* an IPv6 address with its brackets; without a dot at the end */
	size_t host_bytes;
	long long port;		 /* 0: the scheme's own */
	size_t bytes;		 /* of the URL, up to its path */
	bool is_address;	 /* in any notation of inet_aton(3) and inet_pton(3) */
	bool is_here;		 /* one of the names that apps of this machine have for it */
	struct in6_addr address; /* is_address */
};

/* Reads "http://host:port" or "//host:port" at the start of a URL. False: there is none, or it
 * names a user. */
bool place_read(struct place *p, const char *url, size_t bytes) MUST_CHECK;

/* Reads "host:port", as Host has it. */
bool place_read_host(struct place *p, enum place_scheme scheme, const char *host,
		     size_t bytes) MUST_CHECK;

/* Is it the same host, in any case and notation? All names of this machine ("localhost",
 * 127.0.0.1, ::1, and what servers say that are bound to any address: 0.0.0.0, ::) are one. */
bool place_same_host(const struct place *a, const struct place *b);

/* 127.0.0.0/8, ::1, "localhost". */
bool place_is_loopback(const struct place *p);

/* Does who connects there stay on this machine? Those, 0.0.0.0, ::, what is below "localhost", and
 * the names that Debian's /etc/hosts has for them. */
bool place_is_this_machine(const struct place *p);

/* Does a URL point to the origin? http and https are one where the port is the same, or each has
 * its own. False where `origin` is none (all 0). */
bool place_is_at(const struct place *url, const struct place *origin);

/* Does a path stand at or below another? */
bool place_is_below(const char *path, size_t bytes, const char *top, size_t top_bytes);

/* Is a URL an absolute path? Not "//host", nor "/\\host", which browsers take for the same. */
bool place_is_path(const char *url, size_t bytes);

#endif
