/* common/notify.h - Tells systemd that a service of Type=notify is ready or stopping
 * (sd_notify(3), whose protocol is one datagram). */
#ifndef PIPEGATE_NOTIFY_H
#define PIPEGATE_NOTIFY_H

/* Sends `state`, for example "READY=1". Does nothing if NOTIFY_SOCKET is not set. */
void notify_service_manager(const char *state);

#endif
