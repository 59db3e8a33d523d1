/* common/fail.c - see fail.h. */
#include "common/fail.h"

static const struct {
	int status;
	bool retry;
	const char *code;
	const char *detail;
} table[] = {
#define X(name, number, status, retry, code, detail) [number] = {status, retry, code, detail},
	FAIL_TABLE(X)
#undef X
};

static bool known(enum fail f)
{
	return (unsigned)f < FAIL_COUNT;
}

const char *fail_code(enum fail f)
{
	return known(f) ? table[f].code : "internal";
}

const char *fail_detail(enum fail f)
{
	return known(f) ? table[f].detail : "Something went wrong.";
}

int fail_status(enum fail f, bool accepted)
{
	if (f == FAIL_BROKER_UNAVAILABLE)
		return accepted ? 502 : 503;
	if (f == FAIL_SHUTTING_DOWN)
		return accepted ? 504 : 503;
	return known(f) ? table[f].status : 502;
}

bool fail_wants_retry_after(enum fail f)
{
	return known(f) && table[f].retry;
}
