/* common/options.h - One table of settings for each program; a setting is a flag, a variable, or
 * both. The table defines the parsing, the checks of values, and --help;
 * tests/integration/test_documents.py compares README, the man pages and conf/pipegate.env.example
 * with the output of --help.
 *
 * A flag overrides its variable, which overrides the default. A table describes the members of a
 * struct by their offsets and contains no value itself, so it can fill any number of structs. */
#ifndef PIPEGATE_OPTIONS_H
#define PIPEGATE_OPTIONS_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_type {
	SETTING_END,	/* ends a table */
	SETTING_TEXT,	/* const char *; borrows from argv or the environment */
	SETTING_RAW,	/* as SETTING_TEXT, but an empty variable is passed to the program */
	SETTING_NUMBER, /* int64_t, times `unit` */
	SETTING_SWITCH, /* bool, set by a flag without an argument */
	SETTING_LOG,	/* PIPEGATE_LOG: sets log_mode, and has no member */
};

struct setting {
	enum setting_type type;
	char letter;	      /* of the short flag; 0: none */
	const char *flag;     /* "listen" for --listen; NULL: none */
	const char *argument; /* its name in --help: "ADDR:PORT|unix:PATH" */
	const char *variable; /* "PIPEGATE_LISTEN"; NULL: none */
	/* The default, as a user would write it. NULL: without a flag or variable the member stays
	 * unchanged. For SETTING_TEXT, an empty variable counts as not set if this is NULL, and is
	 * an error otherwise. */
	const char *standard;
	int64_t least, most; /* SETTING_NUMBER */
	/* Factor from the user's unit to the member's: 1000 for seconds in, milliseconds out. 0
	 * means 1. */
	int64_t unit;
	/* Returns why a text cannot be the value; NULL: it can. May itself be NULL. */
	const char *(*fault)(const char *text);
	const char *help;
	size_t offset;
};

/* An argument that is not a flag. */
struct operand {
	const char *name; /* "TARGET_URL"; NULL ends the table */
	const char *help;
	size_t offset; /* of a member of type const char * */
	bool optional; /* then those after it are too */
};

struct program {
	const char *name; /* "pipegate-broker" */
	const char *summary;
	const struct setting *settings;
	const struct operand *operands; /* NULL: none */
	const char *notes;		/* printed at the end of --help; NULL: nothing */
	void (*print_version)(void);
};

/* Fills the members of *values, and handles -h, --version and -v, which every program has. Sets
 * cli_program. Returns -1 to continue; otherwise the exit code: 0 after --help or --version,
 * EXIT_USAGE for an invalid flag or EXIT_CONFIG for an invalid variable, after one line on
 * stderr. */
int options_read(const struct program *p, int argc, char **argv, void *values) MUST_CHECK;

/* The row for PIPEGATE_LOG, used by each program that logs requests. */
#define SETTINGS_LOG                                                                               \
	{                                                                                          \
		SETTING_LOG, .variable = "PIPEGATE_LOG", .standard = "text",                       \
			     .help = "text, json, or quiet: no line for each finished request"     \
	}

#endif
