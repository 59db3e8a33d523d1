/* common/notify.h - Telling systemd that a service of Type=notify is ready or stopping
 * (sd_notify(3), whose protocol is one datagram). */
#ifndef PIPEGATE_NOTIFY_H
#define PIPEGATE_NOTIFY_H

/* "READY=1"; nothing happens without NOTIFY_SOCKET */
void notify_service_manager(const char *state);

#endif
