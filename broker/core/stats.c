/* broker/core/stats.c - see stats.h. */
#include "broker/core/stats.h"

#include "common/check.h"

#include <inttypes.h>
#include <stdio.h>

char *stats_text(const struct stats *s, size_t *bytes)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	CHECK(out != NULL);
#define X(field, metric, type, help)                                                               \
	fprintf(out,                                                                               \
		"# HELP " metric " " help "\n# TYPE " metric " " type "\n" metric " %" PRIu64      \
		"\n",                                                                              \
		s->field);
	STATS_TABLE(X)
#undef X
	fputs("# HELP pipegate_requests_total Finished requests by outcome.\n"
	      "# TYPE pipegate_requests_total counter\n",
	      out);
	for (int i = 0; i < FAIL_COUNT; i++)
		fprintf(out, "pipegate_requests_total{outcome=\"%s\"} %" PRIu64 "\n",
			fail_code((enum fail)i), s->outcomes[i]);
	CHECK(fclose(out) == 0);
	return text;
}
