/* broker/core/stats.c - see stats.h. */
#include "broker/core/stats.h"

#include "common/check.h"

#include <inttypes.h>
#include <stdio.h>

static const int64_t bounds_ms[STATS_BUCKET_COUNT] = {
#define X(ms) ms,
	STATS_BUCKETS(X)
#undef X
};

void stats_observe(struct stats_histogram *h, int64_t ms)
{
	size_t i = 0;

	if (ms < 0)
		ms = 0;
	if (ms > STATS_OBSERVED_MAX_MS)
		ms = STATS_OBSERVED_MAX_MS;
	while (i < STATS_BUCKET_COUNT && ms > bounds_ms[i])
		i++;
	h->counts[i]++;
	h->sum_ms += (uint64_t)ms;
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `label` is like `hop="web"`, or "". */
static void put_histogram(FILE *out, const char *name, const char *label,
			  const struct stats_histogram *h)
{
	const char *comma = *label ? "," : "", *open = *label ? "{" : "",
		   *close = *label ? "}" : "";
	uint64_t sum = 0;

	for (size_t i = 0; i < STATS_BUCKET_COUNT; i++) {
		sum += h->counts[i];
		fprintf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, label, comma,
			(double)bounds_ms[i] / 1000, sum);
	}
	sum += h->counts[STATS_BUCKET_COUNT];
	fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma, sum);
	fprintf(out, "%s_sum%s%s%s %.3f\n", name, open, label, close, (double)h->sum_ms / 1000);
	fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, sum);
}

static void put_histograms(FILE *out, const struct stats *s)
{
	static const char *const labels[] = {
#define X(name, label) "hop=\"" label "\"",
		STATS_HOPS(X)
#undef X
	};

	put_head(out, "pipegate_hop_seconds", "histogram",
		 "Time of requests until the response head, by part of their way.");
	for (int i = 0; i < STATS_HOP_COUNT; i++)
		put_histogram(out, "pipegate_hop_seconds", labels[i], &s->hops[i]);
	put_head(out, "pipegate_request_seconds", "histogram",
		 "Time of requests in the broker until their end.");
	put_histogram(out, "pipegate_request_seconds", "", &s->requests);
	put_head(out, "pipegate_loop_lag_seconds", "histogram",
		 "How late the timer of the event loop was.");
	put_histogram(out, "pipegate_loop_lag_seconds", "", &s->loop_lag);
}

static void put_labelled(FILE *out, const struct stats *s)
{
	static const char *const refusals[] = {
#define X(name, label) label,
		STATS_REFUSALS(X)
#undef X
	};

	put_head(out, "pipegate_requests_total", "counter", "Finished requests by outcome.");
	for (int i = 0; i < FAIL_COUNT; i++)
		fprintf(out, "pipegate_requests_total{outcome=\"%s\"} %" PRIu64 "\n",
			fail_code((enum fail)i), s->outcomes[i]);
	put_head(out, "pipegate_responses_total", "counter",
		 "Response heads of apps by class of status.");
	for (int i = 0; i < STATS_CLASSES; i++)
		fprintf(out, "pipegate_responses_total{class=\"%dxx\"} %" PRIu64 "\n", i + 1,
			s->classes[i]);
	put_head(out, "pipegate_tunnel_refusals_total", "counter", "Refused tunnels by reason.");
	for (int i = 0; i < STATS_REFUSAL_COUNT; i++)
		fprintf(out, "pipegate_tunnel_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
			refusals[i], s->refusals[i]);
}

char *stats_text(const struct stats *s, size_t *bytes)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	CHECK(out != NULL);
#define X(field, metric, type, help)                                                               \
	put_head(out, metric, type, help);                                                         \
	fprintf(out, metric " %" PRIu64 "\n", s->field);
	STATS_TABLE(X)
#undef X
	put_labelled(out, s);
	put_histograms(out, s);
	CHECK(fclose(out) == 0);
	return text;
}
