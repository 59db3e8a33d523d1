/* common/notify.h - Tells systemd that a service of Type=notify is ready, alive or stopping
 * (sd_notify(3), whose protocol is one datagram). */
#ifndef PIPEGATE_NOTIFY_H
#define PIPEGATE_NOTIFY_H

#include <stdint.h>

/* Sends `state`, for example "READY=1". Does nothing if NOTIFY_SOCKET is not set. */
void notify_service_manager(const char *state);

/* Of a service with WatchdogSec= (sd_watchdog_enabled(3)). */
struct watchdog {
	int64_t every_ms; /* 0: nothing has to be sent */
	int64_t due_ms;
};

void watchdog_init(struct watchdog *w, int64_t now_ms);
/* Sends "WATCHDOG=1" if it is due. Call it in each turn of a loop that wakes up by w->due_ms. */
void watchdog_tell(struct watchdog *w, int64_t now_ms);

#endif
