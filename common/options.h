/* common/options.h - One table for each program: its settings, each a flag, a variable, or both.
 * From it come the parsing, --help and the checks of values; tests/integration/test_documents.py
 * compares README, the man pages and conf/pipegate.env.example with what --help prints.
 *
 * A flag wins over its variable, which wins over the default. A table describes the members of a
 * struct by their offsets and holds no value itself, so it can fill any number of structs. */
#ifndef PIPEGATE_OPTIONS_H
#define PIPEGATE_OPTIONS_H

#include "common/check.h"

#include <stddef.h>
#include <stdint.h>

enum setting_type {
	SETTING_END,	/* ends a table */
	SETTING_TEXT,	/* const char *; borrows from argv or the environment */
	SETTING_RAW,	/* the same, and the program judges an empty variable itself */
	SETTING_NUMBER, /* int64_t, times `unit` */
	SETTING_SWITCH, /* bool, by a flag without an argument */
	SETTING_LOG,	/* PIPEGATE_LOG: sets log_mode, and has no member */
};

struct setting {
	enum setting_type type;
	char letter;	      /* of the short flag; 0: none */
	const char *flag;     /* "listen" for --listen; NULL: none */
	const char *argument; /* as --help names it: "ADDR:PORT|unix:PATH" */
	const char *variable; /* "PIPEGATE_LISTEN"; NULL: none */
	/* The default, as a user would write it. NULL: the member stays as it is. For SETTING_TEXT
	 * an empty variable counts as not set there, and is refused where there is a default. */
	const char *standard;
	int64_t least, most; /* SETTING_NUMBER */
	int64_t unit; /* 1000 where the user says seconds and the member milliseconds; 0: 1 */
	/* Says why a text cannot be the value; NULL: it can. */
	const char *(*fault)(const char *text);
	const char *help;
	size_t offset;
};

/* A word without a flag. All of a program's are needed. */
struct operand {
	const char *name; /* "TARGET_URL"; NULL ends the table */
	const char *help;
	size_t offset; /* of a const char * */
};

struct program {
	const char *name; /* "pipegate-broker" */
	const char *summary;
	const struct setting *settings;
	const struct operand *operands; /* NULL: none */
	const char *notes;		/* at the end of --help; NULL: nothing */
	void (*print_version)(void);
};

/* Fills the members of *values. -h, --version and -v are every program's. -1: go on. Otherwise the
 * exit code, after what was asked for on stdout or one line on stderr: EXIT_USAGE for an impossible
 * flag, EXIT_CONFIG for an impossible variable. Sets cli_program. */
int options_read(const struct program *p, int argc, char **argv, void *values) MUST_CHECK;

/* The row of PIPEGATE_LOG, for each program that logs requests. */
#define SETTINGS_LOG                                                                               \
	{                                                                                          \
		SETTING_LOG, .variable = "PIPEGATE_LOG", .standard = "text",                       \
			     .help = "text, json, or quiet: no line for each finished request"     \
	}

#endif
