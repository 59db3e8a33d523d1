/* client/app_websocket.h - A caller's WebSocket at the local app: the handshake as the caller
 * wrote it, then the bytes of both directions untouched (RFC 6455 is between the caller and the
 * app). The app's refusal is an ordinary answer. */
#ifndef PIPEGATE_APP_WEBSOCKET_H
#define PIPEGATE_APP_WEBSOCKET_H

#include "client/fetch.h"

struct app_websocket;

/* Like fetch_start(), with the same events: after a head of 101 "data" and "body" are the two
 * directions. */
struct app_websocket *app_websocket_start(struct fetch_engine *e, const void *head,
					  size_t head_bytes, const struct fetch_events *events,
					  void *ctx, enum fail *why) MUST_CHECK;
void app_websocket_resume(struct app_websocket *u, bool body, bool data);
void app_websocket_cancel(struct app_websocket **up);

#endif
