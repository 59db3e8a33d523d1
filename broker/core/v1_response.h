/* broker/core/v1_response.h - Decodes the response message of a v1 client (common/PROTOCOL.md,
 * "Tunnel v1").
 *
 * A pure function of bytes: any thread may run it. Nobody trusts the message, which may have 16
 * MiB. A first pass counts nesting and values and finds the body; the body is decoded where it
 * lies; the JSON parser sees only the rest, and only if that is small. So the cost is linear,
 * and the memory is that of the message and 4 MiB at most. */
#ifndef PIPEGATE_V1_RESPONSE_H
#define PIPEGATE_V1_RESPONSE_H

#include "common/buf.h"
#include "common/fail.h"
#include "common/gate_msg.h"
#include "common/head.h"

struct v1_response {
	bool has_corr; /* the message names an exchange */
	uint8_t corr[CORR_BYTES];
	/* Why it is not a response: static text. NULL: the other members are valid. */
	const char *fault;
	enum fail fail; /* for the exchange, if there is a fault */
	int status;
	struct buf fields; /* header fields in the wire form of a head */
	struct buf body;
};

/* Takes the memory of the message over. End with v1_response_fini(). */
void v1_response_decode(struct v1_response *r, struct buf *message);
void v1_response_fini(struct v1_response *r);

/* Writes the response head. `bodiless`: the response says what it would be with a body (RFC 9110
 * 6.4.1). False: no memory. */
bool v1_response_head(const struct v1_response *r, bool bodiless, struct buf *out) MUST_CHECK;

#endif
