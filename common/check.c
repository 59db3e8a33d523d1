/* common/check.c - see check.h. */
#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void (*check_before_abort)(void);

static void prepare_abort(void)
{
	if (check_before_abort != NULL)
		check_before_abort();
}

_Noreturn void check_fail(const char *expr, const char *file, int line, const char *func)
{
	prepare_abort();
	fprintf(stderr, "bug: %s:%d: %s: CHECK(%s) failed\n", file, line, func, expr);
	abort();
}

_Noreturn void out_of_memory(void)
{
	prepare_abort();
	fputs("out of memory\n", stderr);
	abort();
}

static void *need(void *memory)
{
	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *xcalloc(size_t count, size_t bytes)
{
	return need(calloc(count, bytes));
}

void *xmalloc(size_t bytes)
{
	return need(malloc(bytes ? bytes : 1));
}

void *xrealloc(void *old, size_t bytes)
{
	return need(realloc(old, bytes ? bytes : 1));
}

char *xstrdup(const char *text)
{
	return need(strdup(text));
}
