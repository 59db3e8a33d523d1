/* broker/broker.h - The composition root: owns the loop, all modules, the timers and the signals,
 * and stops them in order. */
#ifndef PIPEGATE_BROKER_H
#define PIPEGATE_BROKER_H

#include "broker/config.h"

/* Runs until SIGTERM or SIGINT and an orderly stop. Returns the exit code: 0, or EXIT_CONFIG after
 * one line on stderr if an address or the gate could not be opened. */
int broker_run(const struct config *config);

#endif
