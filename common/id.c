/* common/id.c - see id.h. */
#include "common/id.h"

#include "common/check.h"
#include "common/gate_msg.h"

#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* Each request needs a correlation id; the stock saves a system call per request. */
void id_random(void *out, size_t bytes)
{
	/* Up to 256 bytes, getrandom() returns neither short nor interrupted. */
	static _Thread_local uint8_t stock[256];
	static _Thread_local size_t left_bytes;

	CHECK(bytes <= sizeof stock);
	if (left_bytes < bytes) {
		CHECK(getrandom(stock, sizeof stock, 0) == (ssize_t)sizeof stock);
		left_bytes = sizeof stock;
	}
	left_bytes -= bytes;
	memcpy(out, stock + left_bytes, bytes);
	explicit_bzero(stock + left_bytes, bytes); /* it may become a key */
}

uint64_t id_random_u64(void)
{
	uint64_t value;

	do
		id_random(&value, sizeof value);
	while (value == 0);
	return value;
}

void id_to_hex(const uint8_t *bytes, size_t count, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * count] = '\0';
}

bool id_connection_valid(const char *id, size_t bytes)
{
	if (bytes < 1 || bytes > CONNECTION_ID_MAX_BYTES)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		char c = id[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '_' || c == '-'))
			return false;
	}
	return !(bytes == 7 && memcmp(id, "healthz", 7) == 0);
}

bool id_from_host(char *id, const char *host, size_t host_bytes, const char *suffix,
		  size_t suffix_bytes)
{
	const char *colon = memchr(host, ':', host_bytes);

	if (colon != NULL)
		host_bytes = (size_t)(colon - host);
	if (host_bytes > 0 && host[host_bytes - 1] == '.')
		host_bytes--; /* a fully qualified name */
	size_t id_bytes = host_bytes > suffix_bytes ? host_bytes - suffix_bytes : 0;
	*id = '\0';
	if (!id_connection_valid(host, id_bytes) || suffix_bytes < 2 || suffix[0] != '.' ||
	    strncasecmp(host + id_bytes, suffix, suffix_bytes) != 0)
		return false;
	for (size_t i = 0; i < id_bytes; i++)
		id[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + 32 : host[i]);
	id[id_bytes] = '\0';
	return id_connection_valid(id, id_bytes); /* "HealthZ" */
}

const char *id_connection_fault(const char *text)
{
	return id_connection_valid(text, strlen(text)) ? NULL : "not 1 to 64 of A-Z a-z 0-9 _ -";
}
