/* broker/core/requester.h - Who asks for an exchange and gets its replies: the gate for a
 * responder, or a caller's WebSocket (ws_relay.c). */
#ifndef PIPEGATE_REQUESTER_H
#define PIPEGATE_REQUESTER_H

#include "common/gate_msg.h"

#include <stdbool.h>
#include <stdint.h>

struct requester;

/* The way back to the worker that sent a message. */
struct reply_to {
	struct requester *requester;
	/* The requester's own: the envelope of the gate. `seat` is echoed; `delimited`: an empty
	 * part stands before the message, as a REQ socket has it. */
	uint16_t seat;
	bool delimited;
	uint8_t parts;
	uint8_t part_bytes[4];
	uint8_t data[128];
};

/* Embedded by its owner; lives until each of its exchanges has ended or was abandoned. */
struct requester {
	/* Sends one reply. Must not call the hub. Borrows all. False: the worker is gone, or reads
	 * nothing. */
	bool (*reply)(const struct reply_to *to, const struct gate_msg *m);
	/* Its exchanges are callers' WebSockets: they have no end of their own, and have limits
	 * of their own. */
	bool websocket;
};

#endif
