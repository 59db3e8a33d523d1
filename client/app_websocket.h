/* client/app_websocket.h - Relays a caller's WebSocket to the local app: sends the handshake as the
 * caller wrote it, then copies the bytes of both directions unchanged (RFC 6455 is between the
 * caller and the app). If the app refuses, its response is passed on like any other. */
#ifndef PIPEGATE_APP_WEBSOCKET_H
#define PIPEGATE_APP_WEBSOCKET_H

#include "client/fetch.h"

struct app_websocket;

/* Like fetch_start(), with the same events. After a head of 101, "data" and "body" carry the two
 * directions. */
struct app_websocket *app_websocket_start(struct fetch_engine *e, const void *head,
					  size_t head_bytes, const struct fetch_events *events,
					  void *ctx, enum fail *why) MUST_CHECK;
void app_websocket_resume(struct app_websocket *w, bool body, bool data);
void app_websocket_cancel(struct app_websocket **wp);

#endif
