/* broker/admin.c - see admin.h. */
#include "broker/admin.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (directory == NULL)
		return 0;
	for (const struct dirent *d = readdir(directory); d != NULL; d = readdir(directory))
		count += *d->d_name != '.';
	closedir(directory);
	return count - 1; /* that of the directory itself */
}

static uint64_t resident_bytes(void)
{
	FILE *in = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (in == NULL)
		return 0;
	if (fscanf(in, "%*u %llu", &pages) != 1)
		pages = 0;
	(void)fclose(in);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void read_process(struct stats *s)
{
	struct rlimit limit = {0};

	s->open_fds = count_descriptors();
	s->resident_bytes = resident_bytes();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		s->max_fds = (uint64_t)limit.rlim_cur;
}

static void respond_metrics(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	const struct admin *admin = ctx;
	struct stats stats = *hub_stats(admin->hub);

	stats.websockets = ws_relays_count(admin->ws_relays);
	stats.pending = listener_pending_count(admin->listener);
	stats.refused_total = admin->admission->refused_total;
	for (int i = 0; i < STATS_REFUSAL_COUNT; i++)
		stats.refusals[i] += admin->admission->refused[i];
	stats.hooks_lost_total = hook_lost_count(admin->hook);
	stats.start_time_s = (uint64_t)admin->started_s;
	read_process(&stats);
	(void)r;
	out->content_type = "text/plain; version=0.0.4; charset=utf-8";
	out->body = stats_text(&stats, &out->body_bytes);
}

static void respond_health(void *ctx, const struct httpd_request *r, struct httpd_response *out)
{
	(void)ctx;
	(void)r;
	out->content_type = "application/json";
	out->body = xstrdup("{\"status\":\"ok\"}");
	out->body_bytes = strlen(out->body);
}

const struct httpd_route admin_routes[] = {
	{"GET", "/metrics", respond_metrics},
	{"GET", "/healthz", respond_health},
	{NULL, NULL, NULL},
};
