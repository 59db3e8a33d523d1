/* common/place.c - see place.h. */
#include "common/place.h"

#include "common/bytes.h"
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

/* Returns the IPv4-mapped IPv6 address (RFC 4291 2.5.5.2). */
static struct in6_addr mapped(struct in_addr four)
{
	struct in6_addr six = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	memcpy(six.s6_addr + 12, &four, 4);
	return six;
}

static bool is_any(const struct in6_addr *a)
{
	return IN6_IS_ADDR_UNSPECIFIED(a) ||
	       (IN6_IS_ADDR_V4MAPPED(a) && get_be32(a->s6_addr + 12) == 0);
}

static bool is_loopback_address(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* Reads each notation that the resolver accepts: 127.1, 2130706433, 0x7f.1, 0177.0.0.1 too. */
static bool read_four(struct in_addr *four, const char *text)
{
	return text[strspn(text, "0123456789abcdefABCDEFxX.")] == '\0' &&
	       inet_aton(text, four) == 1;
}

/* Reads an IPv6 address. A zone ("%lo") is ignored for an address of this machine. Any other
 * address with a zone is refused, because the zone is a part of its identity. */
static bool read_six(struct in6_addr *six, char *text)
{
	char *zone = strchr(text, '%');

	if (zone != NULL)
		*zone = '\0';
	return inet_pton(AF_INET6, text, six) == 1 &&
	       (zone == NULL || is_any(six) || is_loopback_address(six));
}

static bool read_address(struct place *p)
{
	char text[INET6_ADDRSTRLEN + 32]; /* room for a zone, or leading zeros */
	bool six = p->host[0] == '[';
	size_t bytes = p->host_bytes - (six ? 2 : 0);
	struct in_addr four;

	if ((six && (p->host_bytes < 3 || p->host[p->host_bytes - 1] != ']')) ||
	    bytes >= sizeof text)
		return false;
	memcpy(text, p->host + six, bytes);
	text[bytes] = '\0';
	if (six)
		return read_six(&p->address, text);
	if (!read_four(&four, text))
		return false;
	p->address = mapped(four);
	return true;
}

static bool has_name(const struct place *p, const char *name)
{
	return p->host_bytes == strlen(name) && strncasecmp(p->host, name, p->host_bytes) == 0;
}

/* Returns whether the host is a name or address that apps print for themselves. Of 127.0.0.0/8 that
 * is only the first address. */
static bool is_here(const struct place *p)
{
	if (!p->is_address)
		return has_name(p, "localhost");
	return IN6_IS_ADDR_LOOPBACK(&p->address) || is_any(&p->address) ||
	       (IN6_IS_ADDR_V4MAPPED(&p->address) &&
		get_be32(p->address.s6_addr + 12) == INADDR_LOOPBACK);
}

bool place_is_loopback(const struct place *p)
{
	return p->is_address ? is_loopback_address(&p->address) : has_name(p, "localhost");
}

bool place_is_this_machine(const struct place *p)
{
	static const char below[] = ".localhost"; /* RFC 6761 6.3 */
	size_t bytes = sizeof below - 1;

	if (p->is_address)
		return is_loopback_address(&p->address) || is_any(&p->address);
	return has_name(p, "localhost") || has_name(p, "localhost.localdomain") ||
	       has_name(p, "ip6-localhost") || has_name(p, "ip6-loopback") ||
	       (p->host_bytes > bytes &&
		strncasecmp(p->host + p->host_bytes - bytes, below, bytes) == 0);
}

/* Reads "host:port" at p->host, up to the path. False: the host is empty, the port is not a number,
 * or there is a user name. */
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
	p->is_here = is_here(p);
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
	if (a->is_here && b->is_here)
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
