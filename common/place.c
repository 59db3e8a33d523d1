/* common/place.c - see place.h. */
#include "common/place.h"

#include "common/http.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

bool place_is_below(const char *path, size_t bytes, const char *top, size_t top_bytes)
{
	return bytes >= top_bytes && memcmp(path, top, top_bytes) == 0 &&
	       (bytes == top_bytes || strchr("/?#", path[top_bytes]) != NULL);
}

bool place_is_path(const char *url, size_t bytes)
{
	return bytes > 0 && url[0] == '/' && !(bytes > 1 && (url[1] == '/' || url[1] == '\\'));
}

/* An IPv4 address as IPv6 writes it (RFC 4291 2.5.5.2). */
static struct in6_addr mapped(struct in_addr four)
{
	struct in6_addr six = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	memcpy(six.s6_addr + 12, &four, 4);
	return six;
}

static bool read_address(struct place *p)
{
	char text[INET6_ADDRSTRLEN];
	bool six = p->host[0] == '[';
	size_t bytes = p->host_bytes - (six ? 2 : 0);
	struct in_addr four;

	if ((six && (p->host_bytes < 3 || p->host[p->host_bytes - 1] != ']')) ||
	    bytes >= sizeof text)
		return false;
	memcpy(text, p->host + six, bytes);
	text[bytes] = '\0';
	if (six)
		return inet_pton(AF_INET6, text, &p->address) == 1;
	if (inet_pton(AF_INET, text, &four) != 1)
		return false;
	p->address = mapped(four);
	return true;
}

/* The addresses of this machine to itself, and those that servers bind to, and name, for "any". */
static bool is_loopback(const struct place *p)
{
	static const struct in6_addr any_four = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	static const struct in6_addr loop_four = {
		.s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};

	if (!p->is_address)
		return p->host_bytes == 9 && strncasecmp(p->host, "localhost", 9) == 0;
	return IN6_IS_ADDR_LOOPBACK(&p->address) || IN6_IS_ADDR_UNSPECIFIED(&p->address) ||
	       memcmp(&p->address, &any_four, sizeof any_four) == 0 ||
	       memcmp(&p->address, &loop_four, sizeof loop_four) == 0;
}

/* "host:port" at p->host, up to the path. False: no host, no number, or a user. */
static bool read_authority(struct place *p, const char *end)
{
	const char *stop = p->host, *colon = NULL;

	for (; stop < end && strchr("/?#", *stop) == NULL; stop++) {
		if (*stop == '@')
			return false;
		if (*stop == ':')
			colon = stop;
		else if (*stop == ']')
			colon = NULL;
	}
	p->bytes += (size_t)(stop - p->host);
	p->host_bytes = (size_t)((colon ? colon : stop) - p->host);
	if (colon != NULL && stop > colon + 1 &&
	    !http_length_parse(colon + 1, (size_t)(stop - colon - 1), &p->port))
		return false;
	if (p->host_bytes > 1 && p->host[p->host_bytes - 1] == '.')
		p->host_bytes--; /* a fully qualified name */
	if (p->host_bytes == 0)
		return false;
	p->is_address = read_address(p);
	p->is_loopback = is_loopback(p);
	return true;
}

bool place_read(struct place *p, const char *url, size_t bytes)
{
	static const char *const schemes[] = {"//", "http://", "https://"};

	*p = (struct place){.scheme = SCHEME_LEFT_OUT};
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		size_t length = strlen(schemes[i]);
		if (bytes >= length && strncasecmp(url, schemes[i], length) == 0) {
			p->scheme = (enum place_scheme)i;
			p->bytes = length;
			p->host = url + length;
		}
	}
	return p->host != NULL && read_authority(p, url + bytes);
}

bool place_read_host(struct place *p, enum place_scheme scheme, const char *host, size_t bytes)
{
	*p = (struct place){.scheme = scheme, .host = host};
	return bytes > 0 && read_authority(p, host + bytes) && p->bytes == bytes;
}

bool place_same_host(const struct place *a, const struct place *b)
{
	if (a->is_loopback && b->is_loopback)
		return true;
	if (a->is_address && b->is_address)
		return memcmp(&a->address, &b->address, sizeof a->address) == 0;
	return a->host_bytes == b->host_bytes && strncasecmp(a->host, b->host, a->host_bytes) == 0;
}

static long long own_port(enum place_scheme scheme)
{
	return scheme == SCHEME_HTTPS ? 443 : 80;
}

bool place_is_at(const struct place *url, const struct place *origin)
{
	enum place_scheme scheme = url->scheme == SCHEME_LEFT_OUT ? origin->scheme : url->scheme;
	long long port = url->port ? url->port : own_port(scheme);
	long long origin_port = origin->port ? origin->port : own_port(origin->scheme);

	return origin->host_bytes > 0 && place_same_host(url, origin) &&
	       (port == origin_port ||
		(port == own_port(scheme) && origin_port == own_port(origin->scheme)));
}
