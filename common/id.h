/* common/id.h - Random identifiers and the grammar of connection ids. */
#ifndef PIPEGATE_ID_H
#define PIPEGATE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void id_random(void *out, size_t bytes); /* from the kernel; never fails */
uint64_t id_random_u64(void);		 /* never 0 */

void id_to_hex(const uint8_t *bytes, size_t count, char *out); /* 2 * count digits, and a NUL */

/* 1 to 64 of A-Z a-z 0-9 _ - ; "healthz" is reserved (contract section 2). */
bool id_connection_valid(const char *id, size_t bytes);
/* Returns why the text is not one; NULL: it is. */
const char *id_connection_fault(const char *text);

/* Extracts "my-app" from the host "my-app.t.example.org:8080" with the suffix ".t.example.org".
 * Writes it to `id` in lower case with a NUL; `id` has room for CONNECTION_ID_MAX_BYTES + 1. False:
 * the host has another suffix, or the rest is not a connection id. */
bool id_from_host(char *id, const char *host, size_t host_bytes, const char *suffix,
		  size_t suffix_bytes);

#endif
