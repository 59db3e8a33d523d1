/* client/upgrade.h - A caller's WebSocket at the local app: the handshake as the caller wrote it, then the bytes
 * of both directions untouched (RFC 6455 is between the caller and the app). The app's refusal is an ordinary
 * answer. */
#ifndef PIPEGATE_CLIENT_UPGRADE_H
#define PIPEGATE_CLIENT_UPGRADE_H

#include "client/origin.h"

struct upgrade;

/* Like fetch_start(), with the same events: after a head of 101 "data" and "body" are the two directions. */
struct upgrade *upgrade_start(struct origin *o, const void *head, size_t head_bytes,
			      const struct fetch_events *events, void *ctx,
			      enum fail *why) MUST_CHECK;
void upgrade_resume(struct upgrade *u, bool body, bool data);
void upgrade_cancel(struct upgrade **up);

#endif
