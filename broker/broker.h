/* broker/broker.h - The composition root: owns the loop, the modules, timers, signals and the
 * stop. */
#ifndef PIPEGATE_BROKER_H
#define PIPEGATE_BROKER_H

#include "broker/config.h"

/* Runs until SIGTERM or SIGINT and an orderly stop. The exit code: 0, or EXIT_CONFIG after one
 * line on stderr where something could not be had (an address, the gate). */
int broker_run(const struct config *config);

#endif
