/* common/options.c - see options.h. */
#include "common/options.h"

#include "common/cli.h"
#include "common/log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SETTINGS_MAX = 48,
	LONG_FLAG = 1000, /* getopt_long()'s result for the long flag of the first row */
	HELP_COLUMN = 27,
	HELP_COLUMNS = 80,
};

/* The flags that every program has: the first rows of the joined table. */
enum { ROW_HELP, ROW_VERSION, ROW_VERBOSE, STANDARD_ROWS };
static const struct setting standard_rows[STANDARD_ROWS] = {
	{SETTING_SWITCH, .letter = 'h', .flag = "help", .help = "this text"},
	{SETTING_SWITCH, .flag = "version", .help = "versions of the program and its libraries"},
	{SETTING_SWITCH, .letter = 'v', .flag = "verbose", .help = "log more"},
};

struct reader {
	const struct program *program;
	const struct setting *rows[SETTINGS_MAX];
	const char *given[SETTINGS_MAX]; /* the flag's argument; "" for a switch; NULL: not given */
	size_t count;
	struct option options[SETTINGS_MAX + 1];
	char letters[2 * SETTINGS_MAX + 1];
};

static void add_row(struct reader *r, const struct setting *s)
{
	size_t flags = 0;
	char letter[3] = {s->letter, s->argument ? ':' : '\0', '\0'};

	CHECK(r->count < SETTINGS_MAX);
	if (s->letter != '\0')
		strcat(r->letters, letter);
	if (s->flag != NULL) {
		while (r->options[flags].name != NULL)
			flags++;
		r->options[flags] =
			(struct option){s->flag, s->argument ? required_argument : no_argument,
					NULL, LONG_FLAG + (int)r->count};
	}
	r->rows[r->count++] = s;
}

static void reader_init(struct reader *r, const struct program *p)
{
	*r = (struct reader){.program = p};
	for (size_t i = 0; i < STANDARD_ROWS; i++)
		add_row(r, &standard_rows[i]);
	for (const struct setting *s = p->settings; s->type != SETTING_END; s++)
		add_row(r, s);
}

/* --- --help --- */

/* Writes words from column `at`, wrapping at HELP_COLUMNS; continuation lines start at column
 * `indent`. Ends the line. */
static void put_words(const char *text, int at, int indent)
{
	for (const char *word = text; *word;) {
		int bytes = (int)strcspn(word, " ");
		if (at > indent && at + 1 + bytes > HELP_COLUMNS) {
			printf("\n%*s", indent, "");
			at = indent;
		}
		at += printf("%s%.*s", at > indent ? " " : "", bytes, word);
		word += bytes + strspn(word + bytes, " ");
	}
	putchar('\n');
}

/* Writes `left` and, in the second column, `help`. */
static void put_row(const char *left, const char *help)
{
	int at = printf("  %s", left);

	if (at >= HELP_COLUMN) {
		putchar('\n');
		at = 0;
	}
	printf("%*s", HELP_COLUMN - at, "");
	put_words(help, HELP_COLUMN, HELP_COLUMN);
}

static void put_flag(const struct setting *s)
{
	char left[80], short_flag[5] = "    ", help[400];

	if (s->letter != '\0')
		snprintf(short_flag, sizeof short_flag, "-%c, ", s->letter);
	snprintf(left, sizeof left, "%s--%s%s%s", short_flag, s->flag, s->argument ? " " : "",
		 s->argument ? s->argument : "");
	bool shown = s->standard != NULL;
	snprintf(help, sizeof help, "%s%s%s%s", s->help, shown ? " (default: " : "",
		 shown ? s->standard : "", shown ? ")" : "");
	put_row(left, help);
}

static void put_variable(const struct setting *s)
{
	char help[400], range[80] = "";

	if (s->type == SETTING_NUMBER && s->most < INT64_MAX)
		snprintf(range, sizeof range, ", %lld to %lld", (long long)s->least,
			 (long long)s->most);
	if (s->flag != NULL)
		snprintf(help, sizeof help, "as --%s", s->flag);
	else if (s->standard != NULL)
		snprintf(help, sizeof help, "%s%s (default: %s)", s->help, range, s->standard);
	else
		snprintf(help, sizeof help, "%s%s", s->help, range);
	put_row(s->variable, help);
}

static void put_usage(const struct reader *r)
{
	char text[1024] = "";
	size_t bytes = 0;
	int at = printf("usage: %s", r->program->name);

	if (r->program->operands != NULL) {
		bytes += (size_t)snprintf(text, sizeof text, "[options]");
		for (const struct operand *o = r->program->operands; o->name != NULL; o++)
			bytes += (size_t)snprintf(text + bytes, sizeof text - bytes,
						  o->optional ? " [%s]" : " %s", o->name);
	}
	for (size_t i = STANDARD_ROWS; bytes < sizeof text && i < r->count; i++) {
		const struct setting *s = r->rows[i];
		if (s->flag == NULL || r->program->operands != NULL)
			continue;
		bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "%s[--%s%s%s]",
					  bytes ? " " : "", s->flag, s->argument ? "=" : "",
					  s->argument ? s->argument : "");
	}
	CHECK(bytes < sizeof text);
	printf(" ");
	put_words(text, at + 1, at + 1);
}

static void put_help(const struct reader *r)
{
	put_usage(r);
	printf("%s\n\n", r->program->summary);
	for (const struct operand *o = r->program->operands; o != NULL && o->name != NULL; o++)
		put_row(o->name, o->help);
	if (r->program->operands != NULL)
		putchar('\n');
	for (size_t i = 0; i < r->count; i++) {
		const struct setting *s = r->rows[(i + STANDARD_ROWS) % r->count];
		if (s->flag != NULL)
			put_flag(s);
	}
	bool titled = false;
	for (size_t i = 0; i < r->count; i++) {
		if (r->rows[i]->variable == NULL)
			continue;
		if (!titled)
			puts("\nEnvironment; a flag wins over its variable:");
		titled = true;
		put_variable(r->rows[i]);
	}
	if (r->program->notes != NULL)
		printf("\n%s\n", r->program->notes);
}

/* --- flags --- */

/* Reports a flag without the value that may follow its '='. */
static int refuse_flag(const char *why, const char *word)
{
	char *flag = strndup(word, strcspn(word, "="));

	CHECK(flag != NULL);
	int result = cli_misuse(why, flag);
	free(flag);
	return result;
}

/* Reports what getopt_long() has refused. */
static int refuse_option(char **argv, const char *letters)
{
	const char *word = argv[optind - 1];
	char letter[3] = {'-', (char)optopt, '\0'};

	if (optopt == 0)
		return refuse_flag("unknown flag", word);
	if (strncmp(word, "--", 2) == 0)
		return refuse_flag(strchr(word, '=') ? "takes no argument" : "needs an argument",
				   word);
	return cli_misuse(strchr(letters, optopt) ? "needs an argument" : "unknown flag", letter);
}

/* Long flags must not be abbreviated: getopt_long() would read "--token T" as "--token-file T".
 * Returns the abbreviated word, or NULL. */
static const char *abbreviated(char **argv, const char *flag)
{
	bool apart = optarg != NULL && optarg == argv[optind - 1];
	const char *word = argv[optind - (apart ? 2 : 1)];

	return strcspn(word + 2, "=") == strlen(flag) ? NULL : word;
}

static size_t row_of_letter(const struct reader *r, int letter)
{
	size_t i = 0;

	while (i < r->count && r->rows[i]->letter != letter)
		i++;
	CHECK(i < r->count);
	return i;
}

/* Returns -1 to continue, otherwise the exit code. */
static int read_flags(struct reader *r, int argc, char **argv)
{
	int option, index = -1;

	opterr = 0; /* getopt_long()'s own messages would show the value */
	optind = 0; /* restarts the scan, see getopt(3) */
	while ((option = getopt_long(argc, argv, r->letters, r->options, &index)) != -1) {
		if (option == '?')
			return refuse_option(argv, r->letters);
		size_t row = option >= LONG_FLAG ? (size_t)(option - LONG_FLAG)
						 : row_of_letter(r, option);
		const char *word = index < 0 ? NULL : abbreviated(argv, r->rows[row]->flag);
		index = -1;
		if (word != NULL)
			return refuse_flag("unknown flag", word);
		r->given[row] = optarg ? optarg : "";
		if (row == ROW_HELP) {
			put_help(r);
			return 0;
		}
		if (row == ROW_VERSION) {
			r->program->print_version();
			return 0;
		}
		if (row == ROW_VERBOSE)
			log_verbose = true;
	}
	return -1;
}

static int refuse_operands(const struct operand *o)
{
	char names[200] = "";
	size_t bytes = 0;

	for (; o->name != NULL && !o->optional && bytes < sizeof names; o++)
		bytes += (size_t)snprintf(names + bytes, sizeof names - bytes, "%s%s",
					  bytes ? " and " : "", o->name);
	fprintf(stderr, "%s: %s %s needed, see --help\n", cli_program, names,
		strstr(names, " and ") ? "are" : "is");
	return EXIT_USAGE;
}

static void *member(void *values, size_t offset)
{
	return (char *)values + offset;
}

/* Returns -1 to continue, otherwise the exit code. */
static int read_operands(const struct program *p, int argc, char **argv, void *values)
{
	static const struct operand none[] = {{0}};
	const struct operand *operands = p->operands ? p->operands : none;
	int needed = 0, most = 0, given = argc - optind;

	for (; operands[most].name != NULL; most++)
		needed += !operands[most].optional;
	if (given < needed || (given > most && needed > 0 && needed == most))
		return refuse_operands(operands);
	if (given > most)
		return cli_misuse("unexpected argument", argv[optind + most]);
	for (int i = 0; i < given; i++)
		*(const char **)member(values, operands[i].offset) = argv[optind + i];
	return -1;
}

/* --- values --- */

/* Sets the member. False: `why` is the reason. */
static bool set(const struct setting *s, const char *text, void *values, char *why,
		size_t why_bytes)
{
	const char *fault = s->fault ? s->fault(text) : NULL;
	int64_t number;

	switch (s->type) {
	case SETTING_NUMBER:
		if (!cli_parse_number(text, s->least, s->most, &number)) {
			snprintf(why, why_bytes, "not a whole number from %lld to %lld",
				 (long long)s->least, (long long)s->most);
			return false;
		}
		*(int64_t *)member(values, s->offset) = number * (s->unit ? s->unit : 1);
		break;
	case SETTING_SWITCH:
		*(bool *)member(values, s->offset) = true;
		break;
	case SETTING_LOG:
		if (!log_mode_from_text(text))
			fault = "neither text nor json nor quiet";
		break;
	default:
		*(const char **)member(values, s->offset) = text;
		break;
	}
	if (fault != NULL)
		snprintf(why, why_bytes, "%s", fault);
	return fault == NULL;
}

static int set_by_flag(const struct setting *s, const char *text, void *values)
{
	char why[128], name[64];

	if (set(s, text, values, why, sizeof why))
		return 0;
	snprintf(name, sizeof name, "--%s", s->flag);
	(void)cli_complain(name, why, text);
	return EXIT_USAGE;
}

static int set_by_variable(const struct setting *s, void *values)
{
	const char *text = s->variable ? getenv(s->variable) : NULL;
	char why[128];

	if (text != NULL && *text == '\0' && s->type == SETTING_TEXT) {
		if (s->standard != NULL)
			return cli_complain(s->variable, "empty", text);
		text = NULL;
	}
	if (text == NULL || set(s, text, values, why, sizeof why))
		return 0;
	return cli_complain(s->variable, why, text);
}

/* Sets the defaults first, then overrides them by flags and variables. */
static int set_all(const struct reader *r, void *values)
{
	char why[128];
	int result = 0;

	for (size_t i = STANDARD_ROWS; i < r->count; i++) {
		const struct setting *s = r->rows[i];
		if (s->standard != NULL)
			CHECK(set(s, s->standard, values, why, sizeof why));
	}
	for (size_t i = STANDARD_ROWS; result == 0 && i < r->count; i++) {
		if (r->given[i] != NULL)
			result = set_by_flag(r->rows[i], r->given[i], values);
	}
	for (size_t i = STANDARD_ROWS; result == 0 && i < r->count; i++) {
		if (r->given[i] == NULL)
			result = set_by_variable(r->rows[i], values);
	}
	return result == 0 ? -1 : result;
}

int options_read(const struct program *p, int argc, char **argv, void *values)
{
	struct reader r;

	cli_program = p->name;
	reader_init(&r, p);
	int result = read_flags(&r, argc, argv);
	if (result < 0)
		result = read_operands(p, argc, argv, values);
	return result < 0 ? set_all(&r, values) : result;
}
